// Many time limits, one timer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { Deadlines, type Limited } from './deadlines.ts';

function limited(name: string, said: string[], then?: () => void): Limited {
  return {
    expiresMonotonicMs: 0,
    earlier: undefined,
    later: undefined,
    expired: () => {
      said.push(name);
      then?.();
    },
  };
}

test('each expires by its own age, once, and those taken off never', async () => {
  const clock = fakeClock();
  const said: string[] = [];
  const deadlines = new Deadlines(clock, 100);
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => limited(name, said)) as [Limited, Limited, Limited, Limited];
  deadlines.add(a, clock.monotonicMs());
  await clock.advance(40);
  for (const one of [b, c, d]) deadlines.add(one, clock.monotonicMs());
  deadlines.remove(c);
  deadlines.remove(c);
  await clock.advance(60);
  assert.deepEqual(said, ['a']);
  deadlines.remove(a);
  await clock.advance(40);
  assert.deepEqual(said, ['a', 'b', 'd']);
  await clock.advance(1_000);
  assert.deepEqual(said, ['a', 'b', 'd']);
});

test('one may be added and another taken off while a third expires', async () => {
  const clock = fakeClock();
  const said: string[] = [];
  const deadlines = new Deadlines(clock, 100);
  const late = limited('late', said);
  const other = limited('other', said);
  deadlines.add(limited('first', said, () => {
    deadlines.remove(other);
    deadlines.add(late, clock.monotonicMs());
  }), clock.monotonicMs());
  deadlines.add(other, clock.monotonicMs());
  await clock.advance(100);
  assert.deepEqual(said, ['first']);
  await clock.advance(100);
  assert.deepEqual(said, ['first', 'late']);
  deadlines.close();
});
