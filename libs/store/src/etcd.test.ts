// A real etcd against the same suite, so that the suite cannot drift from the truth.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { conformance } from './conformance.ts';
import { openStore } from './open-store.ts';
import { noEtcd, noEtcdctl, startEtcd } from './real-etcd.ts';

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

test('over its quota it refuses writes with STORE_FULL, reads and watches go on, and room that is made is used again', { skip: noEtcd ?? noEtcdctl ?? false }, async () => {
  const cluster = await startEtcd(1, ['--quota-backend-bytes', String(2 * 1_048_576)]);
  const [endpoint = ''] = cluster.endpoints;
  const etcdctl = (...args: string[]): string => execFileSync('etcdctl', ['--endpoints', endpoint, ...args], { encoding: 'utf8', env: { ...process.env, ETCDCTL_API: '3' } });
  const store = await openStore({ endpoints: cluster.endpoints, clock: systemClock, random: systemRandom, log: silentLog(), metrics: openMetrics() });
  const stop = new AbortController();
  try {
    let written = 0;
    const fill = async (): Promise<void> => {
      for (; written < 1_000; written++) await store.put('full', `${written} ${'x'.repeat(100_000)}`);
    };
    await assert.rejects(fill(), { code: 'STORE_FULL' });
    assert.match(etcdctl('alarm', 'list'), /NOSPACE/);
    // etcd takes the write that goes over its quota and refuses it all the same.
    const last = Number(String((await store.get('full'))?.value).split(' ')[0]);
    assert.ok(last === written - 1 || last === written, `what was acknowledged is there: ${last} after ${written}`);
    const { revision } = await store.list('full');
    etcdctl('compact', String(revision));
    etcdctl('defrag');
    etcdctl('alarm', 'disarm');
    const events = store.watch('after', { signal: stop.signal })[Symbol.asyncIterator]();
    assert.equal((await events.next()).value?.kind, 'snapshot');
    await store.put('after', 'taken');
    assert.equal((await events.next()).value?.kind, 'put');
  } finally {
    stop.abort();
    await store.close();
    await cluster.close();
  }
});
