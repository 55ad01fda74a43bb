// Calls to a store that does not answer: what is certain is said as certain, what is not as unknown.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { openLossyLink } from './lossy-link.ts';
import { openStore } from './open-store.ts';
import type { Store } from './store.ts';
import { openTestStore } from './testing.ts';

async function behindLink(t: TestContext) {
  const backing = await openTestStore();
  const link = await openLossyLink(backing.endpoint);
  const store = await openStore({ endpoints: [link.endpoint], log: silentLog(), metrics: openMetrics(), clock: systemClock, times: { callTimeoutMs: 600 } });
  t.after(async () => {
    await store.close();
    await link.close();
    await backing.close();
  });
  return { backing, link, store };
}

const writes: readonly [string, (store: Store) => Promise<unknown>][] = [
  ['put', (store) => store.put('c/a', '2')],
  ['delete', (store) => store.delete('c/a')],
  ['transaction', (store) => store.txn({ compare: [], then: [{ delete: { key: 'c/a' } }] })],
];
for (const [name, write] of writes) {
  test(`a ${name} that was sent and not answered is neither a success nor a failure`, async (t) => {
    const { link, store } = await behindLink(t);
    await store.put('c/a', '1');
    link.stall();
    await assert.rejects(write(store), { code: 'STORE_OUTCOME_UNKNOWN' });
  });
}

test('a write that was never sent is certainly not done, and says so within its limit', async (t) => {
  const { backing, link, store } = await behindLink(t);
  link.cut();
  await assert.rejects(store.put('c/a', '1'), { code: 'STORE_UNAVAILABLE' });
  assert.equal(await backing.store.get('c/a'), undefined);
});

test('a write that could not be sent at first is sent once the store is there, once', async (t) => {
  const { link, store } = await behindLink(t);
  link.cut();
  const writing = store.put('c/a', '1');
  link.mend();
  await writing;
  assert.equal((await store.get('c/a'))?.version, 1n);
});

test('of several members one that is away costs neither a read nor a write', async (t) => {
  const { backing } = await behindLink(t);
  const away = await openLossyLink(backing.endpoint);
  away.cut();
  const store = await openStore({ endpoints: [away.endpoint, backing.endpoint], log: silentLog(), metrics: openMetrics(), clock: systemClock });
  for (let i = 0; i < 30; i++) {
    await store.put('c/many', String(i));
    assert.equal((await store.get('c/many'))?.value.toString(), String(i));
  }
  assert.equal((await store.get('c/many'))?.version, 30n);
  await store.close();
  await away.close();
});

test('what the store refuses is named by its reason', async (t) => {
  const { store } = await behindLink(t);
  await assert.rejects(store.put('c/big', Buffer.alloc(1.5 * 1024 * 1024)), { code: 'STORE_TOO_LARGE' });
  await assert.rejects(store.put('', 'x'), { code: 'STORE_KEY_INVALID' });
  const many = Array.from({ length: 129 }, (_, i) => ({ put: { key: `c/${i}`, value: '' } }));
  await assert.rejects(store.txn({ compare: [], then: many }), { code: 'STORE_TOO_LARGE' });
});

test('a transaction is all or nothing, and tells which branch it took', async (t) => {
  const { store } = await behindLink(t);
  const create = { compare: [{ key: 'c/t', exists: false }], then: [{ put: { key: 'c/t', value: '1' } }, { put: { key: 'c/u', value: '1' } }], otherwise: [{ delete: { key: 'c/u' } }] };
  assert.equal((await store.txn(create)).ok, true);
  assert.equal((await store.txn(create)).ok, false);
  assert.equal(await store.get('c/u'), undefined);
  const { modRevision = 0n } = (await store.get('c/t')) ?? {};
  const swap = { compare: [{ key: 'c/t', modRevision }], then: [{ put: { key: 'c/t', value: '2' } }] };
  assert.deepEqual([(await store.txn(swap)).ok, (await store.txn(swap)).ok], [true, false], 'a fenced write is done once');
});

test('closed is closed, also for a watch that nobody reads', async (t) => {
  const { store } = await behindLink(t);
  const watch = store.watch('c/', { signal: new AbortController().signal })[Symbol.asyncIterator]();
  assert.equal((await watch.next()).value?.kind, 'snapshot');
  await store.close();
  await assert.rejects(store.get('c/a'), { code: 'STORE_CLOSED' });
  assert.equal((await watch.next()).done, true);
});
