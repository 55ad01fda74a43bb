import assert from 'node:assert/strict';
import test from 'node:test';
import { longTimer, systemClock } from './clock.ts';
import { fakeClock } from './testing.ts';

test('a timer longer than setTimeout can do waits its whole length, in parts', () => {
  const waits: number[] = [];
  const pending: (() => void)[] = [];
  let fired = 0;
  const start = (delayMs: number, fn: () => void) => {
    waits.push(delayMs);
    pending.push(fn);
    return () => undefined;
  };
  const delayMs = 2 * 2_147_483_647 + 5;
  longTimer(delayMs, () => void fired++, start);
  while (pending.length > 0) {
    assert.equal(fired, 0);
    pending.shift()?.();
  }
  assert.equal(fired, 1);
  assert.equal(waits.reduce((a, b) => a + b), delayMs);
  assert.ok(waits.every((wait) => wait <= 2_147_483_647));
});

test('cancelling a long timer stops the part that runs', () => {
  const stopped: number[] = [];
  const pending: (() => void)[] = [];
  const timer = longTimer(3_000_000_000, () => assert.fail('fired'), (delayMs, fn) => {
    pending.push(fn);
    return () => void stopped.push(delayMs);
  });
  pending.shift()?.();
  timer.cancel();
  assert.deepEqual(stopped, [3_000_000_000 - 2_147_483_647]);
});

test('the system clock does not fire a month-long timer at once, as setTimeout would', async () => {
  let isFired = false;
  const timer = systemClock.setTimer(31 * 86_400_000, () => (isFired = true));
  await systemClock.sleep(5);
  timer.cancel();
  assert.equal(isFired, false);
});

test('sleeping ends with the reason of the signal, before and during the sleep, and leaves no timer', async () => {
  const clock = fakeClock();
  const reason = new Error('stopping');
  await assert.rejects(clock.sleep(1_000, AbortSignal.abort(reason)), reason);
  const abort = new AbortController();
  const sleeping = clock.sleep(1_000, abort.signal);
  abort.abort(reason);
  await assert.rejects(sleeping, reason);
  assert.equal(clock.pending(), 0);
  await assert.rejects(systemClock.sleep(60_000, AbortSignal.abort(reason)), reason);
});

test('a fake clock fires timers in the order they are due, also those set on the way, and moves both times', async () => {
  const clock = fakeClock(1_000);
  const order: string[] = [];
  clock.setTimer(30, () => order.push('c'));
  clock.setTimer(10, () => {
    order.push(`a at ${clock.nowMs()}`);
    clock.setTimer(10, () => order.push('b'));
  });
  clock.setTimer(31, () => order.push('too late'));
  const cancelled = clock.setTimer(5, () => order.push('cancelled'));
  cancelled.cancel();
  await clock.advance(30);
  assert.deepEqual(order, ['a at 1010', 'b', 'c']);
  assert.equal(clock.monotonicMs(), 30);
  assert.equal(clock.pending(), 1);
});
