// Bundles: every program of Isthmus in one ES module, and one for each kind of worker thread, with no file read beside them.
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type Plugin } from 'esbuild';
import protobuf from 'protobufjs';
import { noticesOf } from './notices.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The programs in one executable; which of them runs is told by the name it is called by. */
export const PROGRAMS = ['admin-api', 'agent', 'control-plane', 'gateway', 'trust-root'] as const;
export type Program = (typeof PROGRAMS)[number];

export type Bundles = {
  /** The module that starts the program it is called as. */
  readonly main: string;
  /** Worker scripts by the name under which `main` asks the executable for them. */
  readonly workers: ReadonlyMap<string, string>;
  /** Licences of the packages whose code is in them. */
  readonly notices: string;
};

type Bundled = { readonly text: string; readonly files: readonly string[] };

/** Bundles everything. **Throws** esbuild's failure with the places it names. */
export async function makeBundles(version: string): Promise<Bundles> {
  const found = new Set<string>();
  const main = await bundle({ stdin: { contents: entry(version), resolveDir: ROOT, sourcefile: 'entry.mjs', loader: 'js' } }, found);
  const workers = new Map<string, string>();
  const files = new Set(main.files);
  for (const path of found) {
    // As an entry it is kept whole: imported for what it does, a module of a package without side effects is left out.
    const worker = await bundle({ entryPoints: [path] }, new Set());
    workers.set(assetName(path), worker.text);
    for (const file of worker.files) files.add(file);
  }
  return { main: main.text, workers, notices: await noticesOf(files) };
}

/** The first lines of all: the daemon whose name this was called by, else the command line. */
function entry(version: string): string {
  const cases = PROGRAMS.map((name) => `  case 'isthmus-${name}': await import(${JSON.stringify(join(ROOT, `apps/${name}/src/main.ts`))}); break;`);
  return `import { basename } from 'node:path';
globalThis.isthmusVersion = ${JSON.stringify(version)};
// What the demo starts ends with it.
if (process.env.ISTHMUS_ENDS_WITH_PARENT !== undefined) await import(${JSON.stringify(join(ROOT, 'apps/cli/src/demo/end-with-parent.ts'))});
const name = basename(process.argv0);
// \`isthmus-agent join\` is \`isthmus agent join\`: what an operator types on a host where nothing else is known.
const isVerb = name === 'isthmus-agent' && /^(join|leave|status|capture)$/.test(process.argv[2] ?? '');
if (isVerb) process.argv.splice(2, 0, 'agent');
switch (isVerb ? 'isthmus' : name.replace(/_v.*/, '')) {
${cases.join('\n')}
  case 'isthmus-sample-workload': await import(${JSON.stringify(join(ROOT, 'apps/cli/src/demo/sample-workload.ts'))}); break;
  case 'terraform-provider-isthmus': await import(${JSON.stringify(join(ROOT, 'apps/terraform-provider/src/main.ts'))}); break;
  default: await import(${JSON.stringify(join(ROOT, 'apps/cli/src/main.ts'))});
}`;
}

async function bundle(input: Pick<BuildOptions, 'stdin' | 'entryPoints'>, workers: Set<string>): Promise<Bundled> {
  const result = await build({
    ...input,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    write: false,
    metafile: true,
    logLevel: 'silent',
    // CommonJS packages call require, which an ES module has not.
    banner: { js: `import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(process.execPath);` },
    plugins: [workerScripts(workers), nativeBeside, protosInside],
  });
  const [output] = result.outputFiles;
  if (output === undefined) throw new Error('esbuild wrote nothing');
  return { text: output.text, files: Object.keys(result.metafile.inputs) };
}

const assetName = (path: string): string => relative(ROOT, path).replaceAll('/', '_').replace(/\.ts$/, '.mjs');

/** `new URL('./x-worker.ts', import.meta.url)` becomes a data: URL of the worker's bundle, which the executable carries. */
const workerScripts = (found: Set<string>): Plugin => ({
  name: 'worker scripts',
  setup({ onLoad }) {
    onLoad({ filter: /libs\/.*\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const contents = text.replace(/new URL\('(\.\/[\w-]+-worker\.ts)', import\.meta\.url\)/g, (_all, script: string) => {
        const worker = join(dirname(path), script);
        found.add(worker);
        return `new URL('data:text/javascript;base64,' + Buffer.from(process.getBuiltinModule('node:sea').getRawAsset(${JSON.stringify(assetName(worker))})).toString('base64'))`;
      });
      return { contents, loader: 'ts' };
    });
  },
});

/** koffi's native part lies beside the executable; where it is missing, loading fails and the portable engine is taken. */
const nativeBeside: Plugin = {
  name: 'native part beside',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$/ }, () => ({ path: 'koffi', namespace: 'native' }));
    onLoad({ filter: /.*/, namespace: 'native' }, () => ({
      contents: `import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
const native = { exports: {} };
process.dlopen(native, join(dirname(realpathSync(process.execPath)), 'koffi.node'));
export default native.exports;`,
      resolveDir: ROOT,
    }));
  },
};

/** etcd3 reads its protos from files at start; here they come along as data. */
export const protosInside: Plugin = {
  name: 'protos inside',
  setup({ onLoad }) {
    onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const call = "loadSync)(`${__dirname}/../proto/rpc.proto`";
      if (!text.includes(call)) throw new Error(`${path}: where it loads its protos was not found`);
      const root = new protobuf.Root().loadSync(join(dirname(path), '../proto/rpc.proto'), { keepCase: true });
      return { contents: text.replace(call, `fromJSON)(${JSON.stringify(root.toJSON())}`), loader: 'js' };
    });
  },
};
