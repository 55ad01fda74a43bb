// `npm run release`: executables, Debian packages, tarballs and their checksums, from this tree into one directory.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { makeBundles } from './bundle.ts';
import { makeDeb } from './deb.ts';
import { ARCHITECTURES, type Architecture, makeExecutable } from './executable.ts';
import { packagePlans } from './packages.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

const HELP = `Usage: npm run release -- [--out DIR] [--arch x64,arm64] [--only executable|deb|tar …]
  --out DIR        where to write (dist)
  --arch NAMES     processors to build for (this machine's)
  --only KIND      one of executable, deb, tar; may be given more than once (all)

Writes DIR/<arch>/isthmus with koffi.node beside it, DIR/*.deb, DIR/*.tar.gz and DIR/SHA256SUMS.
Exit code: 0 done, 64 a wrong flag.
`;

const KINDS = ['executable', 'deb', 'tar'];

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { out: { type: 'string', default: 'dist' }, arch: { type: 'string', default: process.arch }, only: { type: 'string', multiple: true, default: KINDS }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const architectures = values.arch.split(',').filter((name): name is Architecture => (ARCHITECTURES as readonly string[]).includes(name));
  if (architectures.length !== values.arch.split(',').length || values.only.some((kind) => !KINDS.includes(kind))) {
    process.stderr.write(`release: --arch takes ${ARCHITECTURES.join(' and ')}, --only takes ${KINDS.join(', ')}\n${HELP}`);
    return 64;
  }
  await release(resolve(values.out), architectures, new Set(values.only));
  return 0;
}

async function release(out: string, architectures: readonly Architecture[], kinds: ReadonlySet<string>): Promise<void> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string };
  const epochSeconds = await commitSeconds();
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  say('bundling');
  const bundles = await makeBundles(version);
  const noticesPath = join(out, 'third-party-notices');
  await writeFile(noticesPath, bundles.notices);
  const made: string[] = [];
  for (const architecture of architectures) {
    say(`executable for ${architecture}`);
    const executable = await makeExecutable(bundles, architecture, join(out, architecture));
    made.push(executable.path, executable.nativePath);
    if (kinds.has('tar')) {
      const path = join(out, `isthmus_${version}_linux-${architecture}.tar.gz`);
      say(basename(path));
      await run('tar', ['--sort=name', `--mtime=@${epochSeconds}`, '--owner=0', '--group=0', '--numeric-owner', '-czf', path, '-C', join(out, architecture), 'isthmus', 'koffi.node', '-C', out, 'third-party-notices', '-C', join(ROOT, 'infra'), 'systemd']);
      made.push(path);
    }
    if (kinds.has('deb')) {
      for (const plan of packagePlans(version)) {
        say(`${plan.name} for ${architecture}`);
        made.push(await makeDeb(plan, { version, executable, noticesPath, directory: out, epochSeconds }));
      }
    }
  }
  const sums = await Promise.all(made.map(async (path) => `${await sha256Of(path)}  ${path.slice(out.length + 1)}`));
  await writeFile(join(out, 'SHA256SUMS'), `${sums.join('\n')}\n`);
  process.stdout.write(`${sums.join('\n')}\n`);
}

/** When the released source was committed; outside a repository the time is zero. */
async function commitSeconds(): Promise<number> {
  const { stdout } = await run('git', ['log', '-1', '--format=%ct'], { cwd: ROOT }).catch(() => ({ stdout: '0' }));
  return Number.parseInt(stdout, 10) || 0;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest('hex');
}

function say(what: string): void {
  process.stderr.write(`release: ${what}\n`);
}

process.exitCode = await main(process.argv.slice(2));
