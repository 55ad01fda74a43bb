// The watch under everything that can happen to it (reliability rows 8, 10, 11, 13, 17, 19, 22).
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { ReadClient } from './client.ts';
import { startEmbeddedStore } from './embedded/server.ts';
import { openEtcd3Link } from './etcd3-link.ts';
import { follow, openLossyLink, until } from './lossy-link.ts';
import { openStore } from './open-store.ts';
import { openRaw } from './raw-client.ts';
import { openTestStore } from './testing.ts';

const QUICK = { watchIdleMs: 200, watchDeadlineMs: 400, callTimeoutMs: 1000, backoffBaseMs: 20, backoffMaxMs: 100 };
const ABSOLUTE = '/isthmus/v1/';

/** A store, and a second client of it whose link can be cut. */
async function cuttable(t: TestContext) {
  const backing = await openTestStore();
  const link = await openLossyLink(backing.endpoint);
  const metrics = openMetrics();
  const store = await openStore({ endpoints: [link.endpoint], metrics, log: silentLog(), clock: systemClock, times: QUICK });
  t.after(async () => {
    await store.close();
    await link.close();
    await backing.close();
  });
  return { backing, link, store, metrics };
}

async function counted(metrics: { text(): Promise<string> }, line: RegExp): Promise<number> {
  return Number(new RegExp(`${line.source} (\\d+)`, 'm').exec(await metrics.text())?.[1] ?? 0);
}

test('tells a list, then changes; cut off says so, and then tells exactly what was missed', async (t) => {
  const { backing, link, store } = await cuttable(t);
  await backing.store.put('w/a', '1');
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  await backing.store.put('w/b', '1');
  await until('a change', () => watch.told.length === 2);
  link.cut();
  await until('being cut', () => watch.told.includes('unknown'));
  assert.deepEqual([...watch.state.keys()], ['w/a', 'w/b'], 'nothing is withdrawn while cut off');
  await backing.store.put('w/b', '2');
  await backing.store.delete('w/a');
  link.mend();
  await until('being level', () => watch.told.includes('known'));
  assert.deepEqual(watch.told, ['snapshot first', 'put w/b=1', 'unknown', 'put w/b=2', 'delete w/a', 'known']);
  await watch.stop();
});

test('a store that is away at the start is unknown, never empty', async (t) => {
  const { backing, link, store } = await cuttable(t);
  await backing.store.put('w/a', '1');
  link.cut();
  const watch = follow(store, 'w/');
  await until('unknown', () => watch.told.length > 0);
  assert.deepEqual(watch.told, ['unknown']);
  link.mend();
  await until('known', () => watch.told.includes('known'));
  assert.deepEqual(watch.told, ['unknown', 'snapshot first', 'known']);
  await watch.stop();
});

test('cut off past a compaction it makes up the puts and deletes it missed', async (t) => {
  const { backing, link, store, metrics } = await cuttable(t);
  for (const key of ['a', 'b', 'c']) await backing.store.put(`w/${key}`, '1');
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  link.cut();
  await until('being cut', () => watch.told.includes('unknown'));
  await backing.store.delete('w/a');
  await backing.store.put('w/b', '2');
  const revision = await backing.store.put('w/d', '1');
  const raw = openRaw(backing.endpoint);
  await raw.compact(revision);
  raw.close();
  link.mend();
  await until('being level', () => watch.told.includes('known'));
  assert.deepEqual(watch.told, ['snapshot first', 'unknown', 'delete w/a', 'put w/b=2', 'put w/d=1', 'known']);
  assert.equal(await counted(metrics, /isthmus_store_restored_total/), 0);
  await backing.store.put('w/e', '1');
  await until('the next change', () => watch.state.has('w/e'));
  await watch.stop();
});

test('a delete at exactly the compacted revision is not lost', async (t) => {
  const { backing, link, store } = await cuttable(t);
  await backing.store.put('w/a', '1');
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  link.cut();
  await until('being cut', () => watch.told.includes('unknown'));
  await backing.store.delete('w/a');
  const raw = openRaw(backing.endpoint);
  await raw.compact((await raw.range('x')).header?.revision ?? 0n);
  raw.close();
  link.mend();
  await until('being level', () => watch.told.includes('known'));
  assert.equal(watch.state.size, 0);
  await watch.stop();
});

test('a link that falls silent without an error is noticed, cut and opened anew', async (t) => {
  const { backing, link, store, metrics } = await cuttable(t);
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  await backing.store.put('w/warm', '1');
  await until('a change', () => watch.told.length === 2);
  link.stall();
  await backing.store.put('w/a', '1');
  await until('being cut', () => watch.told.includes('unknown'));
  assert.equal(await counted(metrics, /isthmus_store_watch_cuts_total\{reason="stalled"\}/), 1);
  // What is stalled stays so: the client has to come back on another connection.
  link.cut();
  link.mend();
  await until('being level', () => watch.told.includes('known'));
  assert.equal(watch.state.get('w/a'), '1');
  await watch.stop();
});

test('an audit finds what a watch that is alive has not told', async (t) => {
  const backing = await openTestStore();
  // A server that keeps events from a watch while it answers everything else (etcd issue 17529).
  const real = openEtcd3Link({ endpoints: [backing.endpoint] });
  const silent = {
    ...real,
    watch: async () => {
      const stream = await real.watch();
      return { ...stream, listen: (h: Parameters<typeof stream.listen>[0]) => stream.listen({ ...h, onMessage: (m) => m.events.length === 0 && h.onMessage(m) }) };
    },
  };
  const store = new ReadClient(silent, { log: silentLog(), metrics: openMetrics(), clock: systemClock, times: { ...QUICK, auditEveryMs: 300 } }, { maxKeys: 100 });
  t.after(async () => {
    await store.close();
    await backing.close();
  });
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  await backing.store.put('w/a', '1');
  await until('the audit', () => watch.state.get('w/a') === '1');
  await backing.store.delete('w/a');
  await until('the next audit', () => !watch.state.has('w/a'));
  await watch.stop();
});

for (const { name, writesAfter } of [
  { name: 'its revision is lower', writesAfter: 0 },
  { name: 'its revision is higher again but history is another', writesAfter: 12 },
]) {
  test(`a store put back from a backup is taken anew with an alarm: ${name}`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'isthmus-store-'));
    const path = join(directory, 'store.db');
    const start = (port: number) => startEmbeddedStore({ path, listen: { host: '127.0.0.1', port }, log: silentLog(), clock: systemClock });
    let server = await start(0);
    const { port } = server;
    const metrics = openMetrics();
    const options = { endpoints: [`http://127.0.0.1:${port}`], metrics, log: silentLog(), clock: systemClock, times: QUICK };
    const store = await openStore(options);
    t.after(async () => {
      await store.close();
      await server.close();
      await rm(directory, { recursive: true, force: true });
    });
    await store.put('w/old', '1');
    await server.close();
    await copyFile(path, `${path}.backup`);
    server = await start(port);
    const watch = follow(store, 'w/');
    await until('the list', () => watch.told.includes('snapshot first'));
    for (let i = 0; i < 5; i++) await store.put('w/new', String(i));
    await until('the changes', () => watch.state.get('w/new') === '4');
    await server.close();
    await until('being cut', () => watch.told.at(-1) === 'unknown');
    await copyFile(`${path}.backup`, path);
    // Elsewhere first, so that the watch comes back to a store that has gone its own way already.
    server = await start(0);
    const other = openRaw(`http://127.0.0.1:${server.port}`);
    for (let i = 0; i < writesAfter; i++) await other.put(`${ABSOLUTE}w/other`, String(i));
    other.close();
    await server.close();
    server = await start(port);
    await until('a new list', () => watch.told.includes('snapshot restored') && watch.told.at(-1) === 'known');
    assert.ok(!watch.told.some((line) => line.startsWith('delete')), 'what the backup lacks is not told as deleted');
    assert.ok((await counted(metrics, /isthmus_store_restored_total/)) >= 1);
    await watch.stop();
  });
}

test('more than half of the keys gone while cut off raises an alarm', async (t) => {
  const { backing, link, store, metrics } = await cuttable(t);
  for (let i = 0; i < 30; i++) await backing.store.put(`w/${i}`, '1');
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  link.cut();
  await until('being cut', () => watch.told.includes('unknown'));
  const raw = openRaw(backing.endpoint);
  const gone = await raw.del(`${ABSOLUTE}w/`, `${ABSOLUTE}w0`);
  await raw.compact(gone.header?.revision ?? 0n);
  raw.close();
  link.mend();
  await until('being level', () => watch.told.includes('known'));
  assert.equal(watch.state.size, 0);
  assert.equal(await counted(metrics, /isthmus_store_mass_deletes_total/), 1);
  await watch.stop();
});

test('values and keys over the limits are skipped and counted, the others are told', async (t) => {
  const backing = await openTestStore();
  t.after(() => backing.close());
  const metrics = openMetrics();
  const store = await backing.open({ metrics, limits: { maxValueBytes: 10, maxKeys: 3, pageKeys: 2 } });
  await backing.store.put('w/0', 'x'.repeat(11));
  await backing.store.put('w/1', 'ok');
  const watch = follow(store, 'w/');
  await until('the list', () => watch.told.length === 1);
  assert.deepEqual([...watch.state.keys()], ['w/1']);
  await backing.store.put('w/2', 'x'.repeat(11));
  for (const i of [3, 4, 5]) await backing.store.put(`w/${i}`, 'ok');
  await backing.store.put('w/1', 'end');
  await until('the last change', () => watch.state.get('w/1') === 'end');
  assert.deepEqual([...watch.state.keys()].sort(), ['w/1', 'w/3', 'w/4']);
  assert.equal(await counted(metrics, /isthmus_store_skipped_total\{reason="value"\}/), 2);
  assert.equal(await counted(metrics, /isthmus_store_skipped_total\{reason="keys"\}/), 1);
  await watch.stop();
});
