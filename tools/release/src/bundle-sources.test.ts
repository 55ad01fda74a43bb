// Bundles for running here: one file in place of many, never older than the sources, and what looks for files beside itself finds them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { freshBundles } from './bundle-sources.ts';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'isthmus-bundles-')));
after(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

write('package-lock.json', '{}');
write('apps/one/src/main.ts', `import { said } from './said.ts';


console.log(JSON.stringify([said, import.meta.url]));`);
write('apps/one/src/said.ts', `export const said: string = 'first';`);
write('libs/one/src/thread.ts', `export const script = new URL('./echo-worker.ts', import.meta.url);`);
write('libs/one/src/echo-worker.ts', `import { parentPort } from 'node:worker_threads';\nparentPort?.postMessage(import.meta.url);`);
write('apps/two/src/main.ts', `import { script } from '../../../libs/one/src/thread.ts';\nconsole.log(JSON.stringify([script.href]));`);

const said = (directory: string, app: string): readonly string[] => JSON.parse(execFileSync(process.execPath, [join(directory, `apps/${app}/src/main.mjs`)], { encoding: 'utf8' })) as readonly string[];

test('a program is one module that knows where its source is, and a worker’s script is its bundle', async () => {
  const directory = await freshBundles(root);
  const [word, url] = said(directory, 'one');
  assert.equal(word, 'first');
  assert.equal(url, `file://${root}/apps/one/src/main.ts`);
  const [script] = said(directory, 'two');
  assert.equal(script, `file://${directory}/libs/one/src/echo-worker.mjs`);
  assert.ok(existsSync(join(directory, 'libs/one/src/echo-worker.mjs')));
});

test('they are made once, and anew when a source has changed or a program has come', async () => {
  const first = await freshBundles(root);
  assert.equal(await freshBundles(root), first);
  write('apps/one/src/said.ts', `export const said: string = 'later';`);
  // A change within the tick of a coarse clock.
  utimesSync(join(root, 'apps/one/src/said.ts'), new Date(), new Date(Date.now() + 1_000));
  const second = await freshBundles(root);
  assert.notEqual(second, first);
  assert.equal(said(second, 'one')[0], 'later');
  write('apps/three/src/main.ts', `console.log('["new"]');`);
  assert.deepEqual(said(await freshBundles(root), 'three'), ['new']);
});

test('a source that cannot be bundled is an error that names it, and the last good bundles are not taken for it', async () => {
  write('apps/three/src/main.ts', `import './nowhere.ts';`);
  await assert.rejects(freshBundles(root), /apps\/three\/src\/main\.ts[^]*nowhere/);
  await assert.rejects(freshBundles(root), /nowhere/);
});
