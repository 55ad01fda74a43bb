import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { Debounce } from './debounce.ts';

function counted() {
  const clock = fakeClock();
  const runs: number[] = [];
  const debounce = new Debounce({ clock, run: () => runs.push(clock.monotonicMs()) });
  return { clock, runs, debounce };
}

test('a change alone is acted on after 5 ms, and so is each of many that come one by one', async () => {
  const { clock, runs, debounce } = counted();
  for (let i = 0; i < 5; i++) {
    debounce.trigger();
    await clock.advance(20);
  }
  assert.deepEqual(runs, [5, 25, 45, 65, 85]);
});

test('changes within one wait are one action', async () => {
  const { clock, runs, debounce } = counted();
  debounce.trigger();
  debounce.trigger();
  await clock.advance(50);
  assert.deepEqual(runs, [5]);
});

test('a storm of a change each millisecond is merged into ever longer waits, and its last change is acted on', async () => {
  const { clock, runs, debounce } = counted();
  for (let i = 0; i < 1_000; i++) {
    debounce.trigger();
    await clock.advance(1);
  }
  await clock.advance(200);
  assert.ok(runs.length < 15, `${runs.length} actions for 1000 changes`);
  assert.ok((runs.at(-1) ?? 0) >= 1_000 && (runs.at(-1) ?? 0) <= 1_200);
  runs.length = 0;
  await clock.advance(1_000);
  debounce.trigger();
  await clock.advance(5);
  assert.equal(runs.length, 1);
});

test('closed, nothing runs any more', async () => {
  const { clock, runs, debounce } = counted();
  debounce.trigger();
  debounce.close();
  debounce.trigger();
  await clock.advance(1_000);
  assert.deepEqual(runs, []);
});
