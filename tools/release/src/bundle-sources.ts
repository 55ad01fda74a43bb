// Bundles of this repository's own programs for running them here: one module each instead of some 1,800, made anew when a source has changed.
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Metafile, Plugin } from 'esbuild';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const CACHE = 'node_modules/.cache/isthmus-bundles';
/** Bundles of older trees, which running processes may still load workers from. */
const KEPT_MS = 24 * 3_600_000;

/** Programs. What they share lies in chunks, so that making them all takes no longer than one. */
const PROGRAMS = ['apps/*/src/main.ts'];
/** What is loaded by name while one runs, and has to be small: each by itself, without a line that only others need. */
const PARTS = ['apps/cli/src/demo/{end-with-parent,sample-workload}.ts', 'libs/*/src/**/*-worker.ts'];

/** What is known of the bundles made last: a file that is not as it was makes them stale. */
type Made = { readonly directory: string; readonly files: readonly (readonly [path: string, sizeBytes: number, modifiedMs: number])[] };

/**
 * The directory of bundles of the sources as they are now; the bundle of `apps/x/src/main.ts` is `apps/x/src/main.mjs` in
 * it. Makes them where there are none or a source has changed, which takes about a second. **Throws** esbuild's failure.
 */
export async function freshBundles(root: string = ROOT): Promise<string> {
  const known = readMade(root);
  if (known !== undefined) return known.directory;
  const cache = join(root, CACHE);
  const id = `${Date.now().toString(36)}-${process.pid}`;
  const directory = join(cache, id);
  mkdirSync(cache, { recursive: true });
  const files = await makeInto(root, directory);
  writeFileSync(join(cache, `${id}.json`), JSON.stringify({ directory, files } satisfies Made));
  renameSync(join(cache, `${id}.json`), join(cache, 'latest.json'));
  removeOld(cache, directory);
  return directory;
}

function readMade(root: string): Made | undefined {
  let made: Made;
  try {
    made = JSON.parse(readFileSync(join(root, CACHE, 'latest.json'), 'utf8')) as Made;
  } catch {
    return undefined;
  }
  const entries = new Set([...entryPoints(root, PROGRAMS), ...entryPoints(root, PARTS)]);
  const isFresh = existsSync(made.directory) && made.files.every(([path, sizeBytes, modifiedMs]) => {
    entries.delete(path);
    const now = statSync(join(root, path), { throwIfNoEntry: false });
    return now?.size === sizeBytes && now.mtimeMs === modifiedMs;
  });
  return isFresh && entries.size === 0 ? made : undefined;
}

const entryPoints = (root: string, patterns: readonly string[]): string[] => globSync([...patterns], { cwd: root }).map((path) => path.replaceAll('\\', '/'));

async function makeInto(root: string, directory: string): Promise<Made['files']> {
  const { build } = await import('esbuild');
  const { protosInside } = await import('./bundle.ts');
  const make = (patterns: readonly string[], splitting: boolean): Promise<{ readonly metafile: Metafile }> =>
    build({
      absWorkingDir: root,
      entryPoints: entryPoints(root, patterns),
      outdir: directory,
      outbase: root,
      entryNames: '[dir]/[name]',
      chunkNames: 'chunks/[name]-[hash]',
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting,
      platform: 'node',
      format: 'esm',
      target: 'node26',
      legalComments: 'none',
      metafile: true,
      logLevel: 'silent',
      external: ['koffi'],
      // CommonJS packages call require, which an ES module has not.
      banner: { js: `import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);` },
      plugins: [whereItCameFrom(root, directory), protosInside],
    });
  const made = await Promise.all([make(PROGRAMS, true), make(PARTS, false)]);
  // Packages change with the lock file alone.
  const inputs = new Set(made.flatMap(({ metafile }) => Object.keys(metafile.inputs)).filter((path) => !path.includes('node_modules/') && !path.includes(':')));
  return [...inputs, ...entryPoints(root, ['{apps,libs}/*/package.json']), 'package-lock.json', relative(root, fileURLToPath(import.meta.url))].map((path) => {
    const { size, mtimeMs } = statSync(join(root, path));
    return [path, size, mtimeMs] as const;
  });
}

/** A module that looks for files beside it finds those of its source; a worker's script is its bundle. */
const whereItCameFrom = (root: string, directory: string): Plugin => ({
  name: 'where it came from',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\](?:apps|libs)[/\\].*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes('import.meta.url')) return undefined;
      const contents = text
        .replace(/new URL\('(\.\/[\w-]+-worker)\.ts', import\.meta\.url\)/g, (_all, script: string) => {
          const bundle = join(directory, relative(root, dirname(path)), `${script}.mjs`);
          return `new URL(${JSON.stringify(pathToFileURL(bundle).href)})`;
        })
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href));
      return { contents, loader: 'ts' };
    });
  },
});

function removeOld(cache: string, latest: string): void {
  for (const entry of readdirSync(cache)) {
    const path = join(cache, entry);
    const made = statSync(path, { throwIfNoEntry: false });
    if (path !== latest && made?.isDirectory() === true && Date.now() - made.mtimeMs > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}
