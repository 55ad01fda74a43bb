// The short form of `npm run soak`, and how growth is judged.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verdictOf, type Sample } from './growth.ts';
import { soak } from './soak.ts';

test('half a minute of load with an endpoint changing every 100 ms: no request fails, no descriptors pile up', { timeout: 120_000 }, async (t) => {
  const result = await soak({ minutes: 0.4, clients: 8, callers: 2, changeEveryMs: 100 });
  t.diagnostic(`${result.requests} requests, ${result.connections} connections, ${result.changes} changes`);
  assert.deepEqual(result.failures, []);
  assert.ok((result.byCluster['east'] ?? 0) > 0 && (result.byCluster['west'] ?? 0) > 0, 'callers moved from cluster to cluster');
  assert.ok(result.requests > 500 && result.connections > 50 && result.changes > 50, 'there was load');
  // Half a minute is warm-up for memory; `npm run soak` judges that.
  assert.deepEqual(result.processes.filter((p) => /descriptors/.test(p.problem)), []);
  assert.equal(result.processes.length, 7);
});

/** Samples of one process whose memory and descriptors follow the share of the run that is over. */
function samplesOf(residentMib: (share: number) => number, descriptors: (share: number) => number): readonly Sample[] {
  return Array.from({ length: 300 }, (_, i) => ({ atMs: i * 1_000, processes: [{ name: 'p', residentMib: residentMib(i / 300), descriptors: descriptors(i / 300) }] }));
}

test('growth is judged after warm-up, and against breathing', () => {
  const problemOf = (residentMib: (share: number) => number, descriptors: (share: number) => number = () => 40): string => verdictOf(samplesOf(residentMib, descriptors))[0]?.problem ?? 'no verdict';
  assert.equal(problemOf((share) => 80 + Math.min(share, 0.3) * 300), '', 'warm-up is none');
  assert.equal(problemOf((share) => 100 + 30 * Math.sin(share * 200)), '', 'a heap that breathes');
  assert.match(problemOf((share) => 100 + share * 100), /resident memory grew from 150 to 183/);
  assert.match(problemOf(() => 100, (share) => 40 + share * 120), /descriptors grew from 100 to 140/);
});
