// A storm of attempts from one address is held back, others are served, and the memory of it has a bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { fakeClock } from '@isthmus/runtime/testing';
import { openAttemptLimit } from './attempt-limit.ts';

function storm(clock: ReturnType<typeof fakeClock>) {
  const limit = openAttemptLimit(clock);
  let next = 0;
  /** One attempt; each on a connection of its own, unless one is named. */
  const attempt = (address: string, outcome: 'good' | 'bad', connection = `${address}:${next++}`): boolean => {
    try {
      limit.enter({ address, connection });
    } catch (error) {
      assert.ok(error instanceof IsthmusError && error.code === 'IDENTITY_RATE_LIMITED' && Number(error.facts['retryAfterMs']) >= 1_000);
      return false;
    }
    if (outcome === 'bad') limit.failed({ address, connection });
    return true;
  };
  return { limit, attempt };
}

test('of a thousand bad attempts a second from one address a few get in, while every other address is served', async () => {
  const clock = fakeClock();
  const { attempt } = storm(clock);
  let [admitted, others] = [0, 0];
  for (let second = 0; second < 10; second++) {
    for (let i = 0; i < 1_000; i++) {
      if (attempt('10.0.0.66', 'bad')) admitted += 1;
      if (i % 100 === 0 && attempt(`10.0.1.${i / 100}`, 'good')) others += 1;
      await clock.advance(1);
    }
  }
  assert.ok(admitted >= 20 && admitted <= 80, `${admitted} of 10,000 were judged`);
  assert.equal(others, 100, 'all others');
});

test('failures are dearer than successes', () => {
  const counts = (['good', 'bad'] as const).map((outcome) => {
    const { attempt } = storm(fakeClock());
    return Array.from({ length: 1_000 }, () => attempt('a', outcome)).filter(Boolean).length;
  });
  assert.deepEqual(counts, [200, 20]);
});

test('one connection cannot use up what its gateway’s address has', () => {
  const { attempt } = storm(fakeClock());
  const mine = Array.from({ length: 1_000 }, () => attempt('gateway', 'bad', 'gateway:mine')).filter(Boolean).length;
  assert.equal(mine, 12);
  assert.equal(Array.from({ length: 80 }, () => attempt('gateway', 'good')).every(Boolean), true, 'others through the same gateway');
});

test('a million addresses are not remembered', () => {
  const { limit, attempt } = storm(fakeClock());
  for (let i = 0; i < 50_000; i++) attempt(`2001:db8::${i.toString(16)}`, 'bad');
  assert.ok(limit.size <= 20_000, String(limit.size));
});
