// A real etcd against the same suite, so that the suite cannot drift from the truth.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { conformance } from './conformance.ts';
import { openStore } from './open-store.ts';
import { noEtcd, startEtcd } from './real-etcd.ts';

conformance(
  'etcd',
  async () => {
    // A minimum lease of two seconds, as with etcd's default election timeout.
    const cluster = await startEtcd(1, ['--heartbeat-interval', '100', '--election-timeout', '1000']);
    return { endpoint: cluster.endpoints[0] ?? '', close: () => cluster.close() };
  },
  noEtcd,
);

test('a key that is not there is not another one: reading and deleting it touch nothing', { skip: noEtcd ?? false }, async () => {
  const cluster = await startEtcd(1);
  const store = await openStore({ endpoints: cluster.endpoints, clock: systemClock, random: systemRandom, log: silentLog(), metrics: openMetrics() });
  try {
    await store.put('m', 'kept');
    assert.equal(await store.get('a'), undefined);
    assert.equal(await store.delete('a'), false);
    assert.deepEqual(await store.txn({ compare: [{ key: 'a', exists: false }], then: [{ delete: { key: 'b' } }] }).then(({ ok }) => ok), true);
    assert.equal(String((await store.get('m'))?.value), 'kept');
  } finally {
    await store.close();
    await cluster.close();
  }
});
