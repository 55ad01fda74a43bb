// `npm run generate`: protobuf code and the reference pages from their sources; `--check` only says what is out of date.
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openApiDocument } from '@isthmus/api';
import { ERROR_CLASSES } from '@isthmus/model';
import type { ConfigSchema } from '@isthmus/runtime';
import { cliPage, type CommandShape } from './cli-page.ts';
import { duplicates, errorsIn, metricsIn } from './catalogue.ts';
import { configurationPage, errorsPage, MADE, metricsPage } from './reference.ts';
import { modulePage } from './terraform-modules.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const { values } = parseArgs({ options: { check: { type: 'boolean' } } });

const made = new Map<string, string>([
  ...referencePages(),
  ['docs/reference/configuration.md', configurationPage(await programs())],
  ['docs/reference/cli.md', cliPage(await commandTree(), ERROR_CLASSES)],
  ['docs/reference/openapi.json', `${JSON.stringify(openApiDocument(), undefined, 1)}\n`],
  ['docs/reference/terraform.md', await terraformPage()],
  ...moduleReadmes(),
  ...protobufCode(),
]);
const stale = [...made].filter(([path, text]) => text !== textOf(path)).map(([path]) => path);
const orphaned = globSync('libs/rpc/src/gen/**/*.ts', { cwd: root }).filter((path) => !made.has(path));

if (values.check === true) {
  if (stale.length + orphaned.length > 0) {
    process.stderr.write(`Out of date; run npm run generate and commit:\n${[...stale, ...orphaned].map((path) => `  ${path}\n`).join('')}`);
    process.exit(1);
  }
  process.stdout.write(`${made.size} generated files are fresh\n`);
} else {
  for (const path of orphaned) rmSync(join(root, path));
  for (const path of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), made.get(path) ?? '');
  }
  process.stdout.write(stale.length + orphaned.length === 0 ? 'nothing changed\n' : `${[...stale, ...orphaned].join('\n')}\n`);
}

function referencePages(): [string, string][] {
  const sources = globSync('{libs,apps}/*/src/**/*.ts', { cwd: root, exclude: ['**/node_modules/**', '**/*.test.ts', '**/gen/**'] })
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
  const texts = sources.map((path) => [path, readFileSync(join(root, path), 'utf8')] as const);
  const errors = texts.flatMap(([path, text]) => errorsIn(path, text));
  const metrics = texts.flatMap(([path, text]) => metricsIn(path, text));
  const doubled = [...duplicates(errors.map((e) => ({ name: e.code, source: e.source }))), ...duplicates(metrics)];
  if (doubled.length > 0) throw new Error(doubled.join('\n'));
  return [
    ['docs/reference/errors.md', errorsPage(errors, ERROR_CLASSES)],
    ['docs/reference/metrics.md', metricsPage(metrics)],
  ];
}

/** Every app that has a `config.ts` with a `configSchema`. */
async function programs(): Promise<readonly { readonly program: string; readonly schema: ConfigSchema }[]> {
  const found = globSync('apps/*/src/config.ts', { cwd: root }).sort();
  return Promise.all(
    found.map(async (path) => {
      const loaded = (await import(join(root, path))) as { readonly configSchema: ConfigSchema };
      return { program: path.split(/[\\/]/)[1] ?? '', schema: loaded.configSchema };
    }),
  );
}

/** The commands of `isthmus`. */
async function commandTree(): Promise<CommandShape> {
  const { makeProgram } = (await import(join(root, 'apps/cli/src/program.ts'))) as { readonly makeProgram: () => CommandShape };
  return makeProgram();
}

/** The provider's own page of itself. */
async function terraformPage(): Promise<string> {
  const { referencePage } = (await import(join(root, 'apps/terraform-provider/src/docs.ts'))) as { readonly referencePage: (made: string) => string };
  return referencePage(MADE);
}

/** The README of every Terraform module. */
function moduleReadmes(): [string, string][] {
  return globSync('infra/terraform/modules/*/main.tf', { cwd: root }).sort().map((path) => {
    const folder = dirname(path).replaceAll('\\', '/');
    const [main, variables, outputs] = ['main.tf', 'variables.tf', 'outputs.tf'].map((file) => textOf(`${folder}/${file}`) ?? '');
    return [`${folder}/README.md`, modulePage({ name: basename(folder), main: main ?? '', variables: variables ?? '', outputs: outputs ?? '' })];
  });
}

/** Runs buf on a copy, so that a check changes nothing. */
function protobufCode(): [string, string][] {
  const rpc = join(root, 'libs/rpc');
  // Beside the original, because buf.gen.yaml names its plugin relative to itself.
  const copy = mkdtempSync(join(root, 'libs/.generate-'));
  try {
    for (const name of ['buf.yaml', 'buf.gen.yaml', 'proto']) cpSync(join(rpc, name), join(copy, name), { recursive: true });
    const path = [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter);
    execFileSync(join(root, 'node_modules/.bin/buf'), ['generate'], { cwd: copy, env: { ...process.env, PATH: path }, stdio: ['ignore', 'inherit', 'inherit'] });
    return globSync('src/gen/**/*.ts', { cwd: copy }).map((file) => [`libs/rpc/${file.replaceAll('\\', '/')}`, readFileSync(join(copy, file), 'utf8')]);
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return undefined;
  }
}
