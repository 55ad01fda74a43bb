import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { peerStateAt, PRESUMED_DEAD_AFTER_MS, STALE_AFTER_MS } from './peer.ts';

test('a peer is stale after 15 s and presumed dead after two minutes without a heartbeat', () => {
  for (const [ageMs, state] of [[0, 'fresh'], [14_999, 'fresh'], [15_000, 'stale'], [119_999, 'stale'], [120_000, 'presumed-dead']] as const) {
    assert.equal(peerStateAt(1_000, 1_000 + ageMs), state, String(ageMs));
  }
  assert.deepEqual([STALE_AFTER_MS, PRESUMED_DEAD_AFTER_MS], [15_000, 120_000]);
});

test('a peer only ever gets worse with time', () => {
  const order = ['fresh', 'stale', 'presumed-dead'];
  fc.assert(fc.property(fc.nat(300_000), fc.nat(300_000), (a, b) => assert.ok(order.indexOf(peerStateAt(0, Math.min(a, b))) <= order.indexOf(peerStateAt(0, Math.max(a, b))))));
});

test('limits of one’s own are taken', () => {
  assert.equal(peerStateAt(0, 5, { staleAfterMs: 5, presumedDeadAfterMs: 10 }), 'stale');
});
