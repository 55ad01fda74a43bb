// 20,000 services: listed page by page and watched, by readers quick and slow, without the memory of either process growing with them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { clusterOf, DEMO_OPERATOR, openClusterStore, openOperator, smallTopology, startFederation, waitFor } from '@isthmus/harness';
import { keys } from '@isthmus/store';

const COUNT = 20_000;
const BATCH = 100;
/** So many before memory is looked at first, and after that. */
const WARM_UP = 3;
const ROUNDS = 4;
/** Room for what a garbage collector has not come to yet; a copy of the list for each reader would be more. */
const MAX_GROWTH_BYTES = 96 * 1024 * 1024;

const service = (i: number, port = 80): string => JSON.stringify({ kind: 'service', namespace: `team-${i % 20}`, name: `service-${i}`, ports: [{ name: 'http', port, protocol: 'http' }] });
const residentBytes = (pid: number): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;

test('20,000 services are listed whole and watched, at a steady memory', { skip: process.platform !== 'linux' && 'reads /proc', timeout: 500_000 }, async (t) => {
  const mesh = await startFederation({ topology: smallTopology(['east-1', 'west-2']), start: false }, t);
  const east = clusterOf(mesh.topology, 'east');
  await mesh.federation.startTrustRoot();
  const controlPlane = await mesh.federation.startControlPlane(east);
  const adminApi = await mesh.federation.startAdminApi(east);
  const operator = await openOperator(mesh, 'east', DEMO_OPERATOR);
  const store = await openClusterStore(mesh, 'east');
  try {
    for (let i = 0; i < COUNT; i += BATCH) {
      const then = Array.from({ length: BATCH }, (_, n) => ({ put: { key: keys.resource('service', `team-${(i + n) % 20}`, `service-${i + n}`), value: service(i + n) } }));
      assert.ok((await store.txn({ compare: [], then })).ok);
    }
    const params = { cluster: 'east' };
    const listAll = async (): Promise<number> => {
      const seen = new Set<string>();
      for await (const { key } of operator.client.list('listServices', { params, query: { limit: '1000' } })) seen.add(key);
      return seen.size;
    };
    await waitFor('all of them to be known', 120_000, async () => ((await listAll()) === COUNT ? true : undefined), 1_000);

    /** A whole first state, then one change seen; `pauseMs` between events makes a slow reader. */
    const watchOnce = async (round: number): Promise<number> => {
      const end = new AbortController();
      let count = 0;
      try {
        for await (const event of operator.client.watch('listServices', { params, signal: end.signal })) {
          if (event.kind === 'put') count += 1;
          if (event.kind === 'synced') await store.put(keys.resource('service', 'team-0', 'service-0'), service(0, 1_000 + round));
          if (event.kind === 'put' && (event.document['ports'] as { port: number }[])[0]?.port === 1_000 + round) break;
        }
      } finally {
        end.abort();
      }
      return count;
    };
    assert.equal(await watchOnce(0), COUNT + 1);

    // One reader never takes anything while the others come and go: it must cost no more than what its socket holds.
    const idle = new AbortController();
    const stalled = operator.client.watch('listServices', { params, signal: idle.signal });
    await stalled.next();
    const resident = (): number[] => [controlPlane, adminApi].map(({ pid }) => residentBytes(pid));
    let before = resident();
    for (let round = 1; round <= WARM_UP + ROUNDS; round += 1) {
      if (round === WARM_UP + 1) before = resident();
      assert.equal(await listAll(), COUNT);
      assert.equal(await watchOnce(round), COUNT + 1);
      for (let i = 0; i < COUNT; i += BATCH * 10) await store.put(keys.resource('service', `team-${i % 20}`, `service-${i}`), service(i, 80 + round));
    }
    const after = resident();
    const megabytes = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`;
    t.diagnostic(`resident, control plane and admin API: ${before.map(megabytes).join(' and ')} before, ${after.map(megabytes).join(' and ')} after ${ROUNDS} rounds of ${COUNT} listed and watched`);
    after.forEach((bytes, i) => assert.ok(bytes - (before[i] ?? 0) < MAX_GROWTH_BYTES, `${['control plane', 'admin API'][i]}: ${megabytes(before[i] ?? 0)} grew to ${megabytes(bytes)}`));
    idle.abort();
    await stalled.return().catch(() => undefined);
  } finally {
    await operator.close();
    await store.close();
  }
});
