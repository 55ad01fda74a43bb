import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { priorityLoad, PURE_FAILOVER } from './failover.ts';

const of100 = (...fit: readonly number[]) => fit.map((n) => ({ fit: n, total: 100 }));

// Envoy's own table for overprovisioning 140 (facts 3: "checks for a test table").
for (const [healthy, loads] of [
  [[100, 100], [100, 0]],
  [[72, 100], [100, 0]],
  [[71, 100], [99, 1]],
  [[50, 100], [70, 30]],
  [[25, 100], [35, 65]],
  [[0, 100], [0, 100]],
  [[25, 25], [50, 50]],
  [[25, 25, 100], [35, 35, 30]],
  [[25, 25, 20], [36, 36, 28]],
] as const) {
  test(`with 140 %, tiers ${healthy.join('/')} % fit take ${loads.join('/')}`, () => assert.deepEqual(priorityLoad(of100(...healthy), 140), loads));
}

test('pure failover: the nearest tier with one fit endpoint takes everything', () => {
  assert.deepEqual(priorityLoad(of100(1, 100, 100), PURE_FAILOVER), [100, 0, 0]);
  assert.deepEqual(priorityLoad(of100(0, 1, 100), PURE_FAILOVER), [0, 100, 0]);
  assert.deepEqual(priorityLoad(of100(0, 0), PURE_FAILOVER), [0, 0]);
  assert.deepEqual(priorityLoad([{ fit: 0, total: 0 }], PURE_FAILOVER), [0]);
});

test('loads sum to 100 and none is negative, unless nothing is fit', () => {
  const tier = fc.nat(30).chain((total) => fc.record({ fit: fc.nat(total), total: fc.constant(total) }));
  fc.assert(
    fc.property(fc.array(tier, { maxLength: 12 }), fc.constantFrom(100, 140, 200, 100_000, PURE_FAILOVER), (tiers, percent) => {
      const loads = priorityLoad(tiers, percent);
      const isAnyFit = tiers.some((t) => t.fit > 0);
      assert.equal(loads.reduce((a, b) => a + b, 0), isAnyFit ? 100 : 0);
      return loads.every((load, i) => load >= 0 && (load === 0 || (tiers[i]?.fit ?? 0) > 0));
    }),
  );
});
