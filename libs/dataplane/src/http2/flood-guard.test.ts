import assert from 'node:assert/strict';
import test from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { FloodGuard } from './flood-guard.ts';

/** How many calls are allowed before the first refusal; -1: all of `most`. */
function allowed(most: number, call: () => boolean): number {
  for (let i = 0; i < most; i++) if (call()) return i;
  return -1;
}

test('resets that outnumber half of the streams are refused after the first 200', () => {
  const guard = new FloodGuard(fakeClock());
  assert.equal(allowed(10_000, () => {
    guard.opened();
    return guard.reset();
  }), 200);
});

test('a peer that resets every third stream is left alone', () => {
  const guard = new FloodGuard(fakeClock());
  assert.equal(allowed(10_000, () => {
    for (let i = 0; i < 3; i++) guard.opened();
    return guard.reset();
  }), -1);
});

test('frames that do nothing are refused when there is nothing they go with', () => {
  const guard = new FloodGuard(fakeClock());
  assert.equal(allowed(10_000, () => guard.control()), 1000);
});

test('frames that steer a transfer are not', () => {
  const guard = new FloodGuard(fakeClock());
  assert.equal(allowed(100_000, () => {
    guard.useful();
    return guard.control() || guard.control();
  }), -1);
});

test('empty DATA is refused after the first hundred', () => {
  const guard = new FloodGuard(fakeClock());
  assert.equal(allowed(1000, () => guard.empty()), 100);
});

test('a slow trickle over hours is never too much, and a long honest life buys no burst', async () => {
  const clock = fakeClock();
  const guard = new FloodGuard(clock);
  for (let i = 0; i < 100; i++) {
    for (let n = 0; n < 1000; n++) guard.opened();
    for (let n = 0; n < 100; n++) assert.equal(guard.reset(), false);
    await clock.advance(10_000);
    guard.tick();
  }
  assert.equal(allowed(1000, () => guard.reset()), 200);
});
