// The embedded store's file: what was acknowledged is there after kill -9, and a damaged file is refused by name.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { openRaw } from '../raw-client.ts';
import { startEmbeddedStore } from './server.ts';

async function aPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'isthmus-store-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'store.db');
}

const start = (path: string) => startEmbeddedStore({ path, listen: { host: '127.0.0.1', port: 0 }, log: silentLog(), clock: systemClock });

/** A store with some keys, closed again. */
async function filled(path: string): Promise<void> {
  const server = await start(path);
  const raw = openRaw(`http://127.0.0.1:${server.port}`);
  await Promise.all(Array.from({ length: 300 }, (_, i) => raw.put(`k/${i}`, 'x'.repeat(200))));
  raw.close();
  await server.close();
}

test('every write that was acknowledged is there after kill -9 in the middle of writing, thrice over', async (t) => {
  const path = await aPath(t);
  const acknowledged = new Map<string, string>();
  let lastRevision = 0n;
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../testdata/embedded-server.ts', import.meta.url)), path], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const port = Number((await lines.next()).value);
    const raw = openRaw(`http://127.0.0.1:${port}`);
    for (const [key, value] of acknowledged) assert.equal((await raw.range(key)).kvs[0]?.value.toString(), value, `${key} after kill -9`);
    assert.ok(((await raw.range('x')).header?.revision ?? 0n) >= lastRevision, 'the revision does not go back');
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let i = 0; ; i++) {
        const [key, value] = [`k/${round}/${writer}/${i % 20}`, String(i)];
        try {
          lastRevision = (await raw.put(key, value)).header?.revision ?? lastRevision;
        } catch {
          // The one in flight when the server died: it may or may not have happened.
          acknowledged.delete(key);
          return;
        }
        acknowledged.set(key, value);
        if (acknowledged.size > (round + 1) * 100) child.kill('SIGKILL');
      }
    });
    await Promise.all([...writers, once(child, 'exit')]);
    raw.close();
  }
  assert.ok(acknowledged.size > 300);
  const server = await start(path);
  const raw = openRaw(`http://127.0.0.1:${server.port}`);
  for (const [key, value] of acknowledged) assert.equal((await raw.range(key)).kvs[0]?.value.toString(), value);
  raw.close();
  await server.close();
});

test('leases and their keys survive a restart, and so does what is compacted', async (t) => {
  const path = await aPath(t);
  let server = await start(path);
  let raw = openRaw(`http://127.0.0.1:${server.port}`);
  const { ID } = await raw.grant(60n);
  await raw.put('a', '1', { lease: ID });
  const revision = (await raw.put('a', '2', { lease: ID })).header?.revision ?? 0n;
  await raw.compact(revision);
  raw.close();
  await server.close();
  server = await start(path);
  raw = openRaw(`http://127.0.0.1:${server.port}`);
  assert.deepEqual((await raw.timeToLive(ID)).keys.map(String), ['a']);
  await assert.rejects(raw.range('a', { revision: revision - 1n }), { code: 11 });
  await raw.revoke(ID);
  assert.equal((await raw.range('a')).count, 0n);
  raw.close();
  await server.close();
});

const damages: readonly [string, (path: string) => Promise<void>][] = [
  ['is cut short', async (path) => truncate(path, Math.floor((await stat(path)).size / 2))],
  ['is empty', (path) => truncate(path, 0)],
  ['is something else', (path) => writeFile(path, 'not a database, but long enough to have a header of its own '.repeat(4))],
  [
    'has a page overwritten',
    async (path) => {
      const file = await open(path, 'r+');
      await file.write(Buffer.alloc(4096, 0xa5), 0, 4096, 4096 * 3);
      await file.close();
    },
  ],
];
for (const [name, damage] of damages) {
  test(`a file that ${name} is refused, named, and left as it is`, async (t) => {
    const path = await aPath(t);
    await filled(path);
    await damage(path);
    const before = await readFile(path);
    await assert.rejects(start(path), (error: Error & { code?: string }) => error.code === 'STORE_FILE_CORRUPT' && error.message.includes(path));
    assert.ok((await readFile(path)).equals(before));
  });
}

test('a file of a newer version is refused in one line, and left as it is', async (t) => {
  const path = await aPath(t);
  await filled(path);
  const newer = new DatabaseSync(path);
  newer.exec("UPDATE meta SET value = 2 WHERE name = 'layout'");
  newer.close();
  await assert.rejects(start(path), { code: 'STORE_NEWER', message: `the store file ${path} was written by a newer version of this program: its layout is 2, this one knows 1` });
  const after = new DatabaseSync(path);
  assert.equal(after.prepare("SELECT value FROM meta WHERE name = 'layout'").get()?.['value'], 2);
  assert.ok(Number(after.prepare('SELECT count(*) AS rows FROM kv').get()?.['rows']) > 0);
  after.close();
});

test('two servers never have one file', async (t) => {
  const path = await aPath(t);
  const server = await start(path);
  await assert.rejects(start(path), { code: 'STORE_FILE_UNUSABLE' });
  await server.close();
  await (await start(path)).close();
});

test('the file is readable by its owner alone', async (t) => {
  const path = await aPath(t);
  await filled(path);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('without TLS it listens on loopback only', async (t) => {
  const path = await aPath(t);
  await assert.rejects(startEmbeddedStore({ path, listen: { host: '0.0.0.0', port: 0 }, log: silentLog(), clock: systemClock }), { code: 'STORE_LISTEN' });
});
