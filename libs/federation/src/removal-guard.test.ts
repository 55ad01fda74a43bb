import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { RemovalGuard } from './removal-guard.ts';

function guarded(count: number) {
  const clock = fakeClock();
  const held = new Set(Array.from({ length: count }, (_, i) => `k${i}`));
  const alarms: number[] = [];
  const guard = new RemovalGuard({
    clock,
    graceMs: 60_000,
    heldCount: () => held.size,
    commit: (keys) => {
      for (const key of keys) held.delete(key);
    },
    onMass: (n) => alarms.push(n),
  });
  const remove = (n: number): void => {
    for (const key of [...held].slice(0, n)) guard.remove(key);
  };
  return { clock, held, alarms, guard, remove };
}

test('a few of many go at once', async () => {
  const { clock, held, alarms, remove } = guarded(20);
  remove(10);
  await clock.advance(50);
  assert.equal(held.size, 10);
  assert.deepEqual(alarms, []);
});

test('most of many at once are kept for the grace period, with an alarm', async () => {
  const { clock, held, alarms, remove } = guarded(20);
  remove(11);
  await clock.advance(59_000);
  assert.equal(held.size, 20);
  assert.deepEqual(alarms, [11]);
  await clock.advance(1_100);
  assert.equal(held.size, 9);
});

test('what comes back within the grace period was never gone', async () => {
  const { clock, held, guard, remove } = guarded(20);
  remove(20);
  await clock.advance(1_000);
  guard.keep('k3');
  await clock.advance(60_000);
  assert.deepEqual([...held], ['k3']);
});

test('with ten or fewer, all may go at once', async () => {
  const { clock, held, remove } = guarded(10);
  remove(10);
  await clock.advance(50);
  assert.equal(held.size, 0);
});
