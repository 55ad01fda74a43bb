// Load is shed in steps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { Overload } from './overload.ts';

test('a filling heap first ends connections, then refuses requests, and recovers', async () => {
  const clock = fakeClock();
  let ratio = 0.5;
  let looks = 0;
  const overload = new Overload({ clock, requests: 10, heapRatio: () => (looks += 1, ratio) });
  assert.equal(overload.load(0), 'fine');
  for (const [next, want] of [[0.93, 'busy'], [0.96, 'full'], [0.5, 'fine']] as const) {
    ratio = next;
    await clock.advance(250);
    assert.equal(overload.load(0), want);
    assert.equal(overload.load(0), want);
  }
  assert.equal(looks, 4);
});

test('more requests at once than allowed are refused whatever the heap says', () => {
  const overload = new Overload({ clock: fakeClock(), requests: 2, heapRatio: () => 0 });
  assert.deepEqual([overload.load(1), overload.load(2)], ['fine', 'full']);
});

test('the real heap of this process is not full', () => {
  assert.equal(new Overload({ clock: fakeClock(), requests: 2 }).load(0), 'fine');
});
