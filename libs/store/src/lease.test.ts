// Leases: kept while they can be, and known to be lost before anybody acts on them (reliability rows 14, 15).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { test, type TestContext } from 'node:test';
import { until } from './lossy-link.ts';
import { openRaw } from './raw-client.ts';
import { openTestStore } from './testing.ts';

async function aStore(t: TestContext) {
  const backing = await openTestStore();
  t.after(() => backing.close());
  return backing;
}

test('a lease outlives its TTL while it is kept, and takes its keys along when revoked', async (t) => {
  const { store } = await aStore(t);
  const lease = await store.lease(2000);
  await store.put('l/a', 'x', { lease });
  const end = performance.now() + 3200;
  await until('more than one TTL to pass', () => performance.now() > end);
  assert.equal(lease.alive, true);
  assert.equal((await store.get('l/a'))?.leaseId, lease.id);
  await lease.revoke();
  assert.equal(lease.alive, false);
  assert.equal(await store.get('l/a'), undefined);
});

test('a lease the server no longer has is lost, and nothing is written under it', async (t) => {
  const { store, endpoint } = await aStore(t);
  const lease = await store.lease(60_000);
  let lost = 0;
  lease.onLost(() => lost++);
  const raw = openRaw(endpoint);
  await raw.revoke(lease.id);
  raw.close();
  await assert.rejects(store.put('l/a', 'x', { lease }), { code: 'STORE_LEASE_LOST' });
  assert.deepEqual([lease.alive, lost], [false, 1]);
  await assert.rejects(store.txn({ compare: [], then: [{ put: { key: 'l/a', value: 'x', lease } }] }), { code: 'STORE_LEASE_LOST' });
  assert.equal(await store.get('l/a'), undefined);
});

test('a lease that cannot be kept is lost when its time is up, though nobody says so', async (t) => {
  const { store, stop, start } = await aStore(t);
  const lease = await store.lease(2000);
  const lost = Promise.withResolvers<void>();
  lease.onLost(() => lost.resolve());
  await stop();
  await lost.promise;
  assert.equal(lease.alive, false);
  await start();
  await assert.rejects(store.put('l/a', 'x', { lease }), { code: 'STORE_LEASE_LOST' }, 'lost is lost, even if the server still has it');
});

test('of two who believe to hold a key, one writes', async (t) => {
  const { store } = await aStore(t);
  const [mine, theirs] = [await store.lease(60_000), await store.lease(60_000)];
  await store.put('lock', 'mine', { lease: mine });
  await store.put('lock', 'theirs', { lease: theirs });
  const by = (lease: typeof mine, value: string) => store.txn({ compare: [{ key: 'lock', lease }], then: [{ put: { key: 'work', value } }] });
  assert.deepEqual([(await by(mine, 'mine')).ok, (await by(theirs, 'theirs')).ok], [false, true]);
  assert.equal((await store.get('work'))?.value.toString(), 'theirs');
});

test('a holder stopped for longer than the TTL finds its lease lost when it goes on', async (t) => {
  const { store, endpoint } = await aStore(t);
  const holder = spawn(process.execPath, [fileURLToPath(new URL('./testdata/lease-holder.ts', import.meta.url)), endpoint], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => holder.kill('SIGKILL'));
  const lines = createInterface({ input: holder.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => String((await lines.next()).value);
  assert.equal(await line(), 'holding');
  holder.kill('SIGSTOP');
  await until('the key to go with its lease', async () => (await store.get('held')) === undefined);
  holder.stdin.write('write\n');
  holder.kill('SIGCONT');
  // Its first act after waking is a write under the lease.
  assert.deepEqual([await line(), await line()].sort(), ['lost', 'refused STORE_LEASE_LOST']);
  assert.equal(await store.get('held'), undefined);
  const ended = once(holder, 'exit');
  holder.stdin.end();
  await ended;
});
