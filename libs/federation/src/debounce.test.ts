import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { Debounce } from './debounce.ts';

test('the first change waits 5 ms, a storm ever longer, and after calm it is 5 ms again', async () => {
  const clock = fakeClock();
  const runs: number[] = [];
  const debounce = new Debounce({ clock, run: () => runs.push(clock.monotonicMs()) });
  for (let i = 0; i < 1_000; i++) {
    debounce.trigger();
    await clock.advance(1);
  }
  assert.equal(runs[0], 5);
  assert.ok(runs.length <= 11, `${runs.length} runs for a thousand changes in a second`);
  await clock.advance(1_000);
  runs.length = 0;
  const calmMs = clock.monotonicMs();
  debounce.trigger();
  await clock.advance(5);
  assert.deepEqual(runs, [calmMs + 5]);
});
