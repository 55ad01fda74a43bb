// Runs a program of this repository from its bundle: `node run-bundled.ts apps/cli/src/main.ts up`. What it starts runs from bundles too.
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { freshBundles } from './bundle-sources.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const [source = ''] = process.argv.splice(2, 1);
let module = join(ROOT, source);
try {
  process.env['ISTHMUS_BUNDLES'] ??= await freshBundles();
  module = join(process.env['ISTHMUS_BUNDLES'], source.replace(/\.ts$/, '.mjs'));
} catch (error) {
  process.stderr.write(`no bundles, running the sources: ${error instanceof Error ? error.message : String(error)}\n`);
}
process.argv[1] = module;
enableCompileCache(join(ROOT, 'node_modules/.cache/isthmus'));
await import(pathToFileURL(module).href);
