import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { openRateLimit } from './rate-limit.ts';

test('a caller gets its burst, then its rate, and others are not touched', async () => {
  const clock = fakeClock();
  const limit = openRateLimit({ burst: 3, perSecond: 1, clock });
  assert.deepEqual([1, 2, 3, 4].map(() => limit.take('a')), [true, true, true, false]);
  assert.equal(limit.take('b'), true);
  await clock.advance(1_000);
  assert.deepEqual([1, 2].map(() => limit.take('a')), [true, false]);
});

test('callers beyond the bound push out the longest unused, not the busy one', () => {
  const limit = openRateLimit({ burst: 1, perSecond: 0, clock: fakeClock(), maxCallers: 2 });
  limit.take('busy');
  limit.take('x');
  limit.take('busy');
  limit.take('y');
  assert.equal(limit.take('busy'), false);
});
