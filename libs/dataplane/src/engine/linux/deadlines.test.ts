import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadlines, type Limited } from './deadlines.ts';

class Thing implements Limited {
  deadlineMs: number;
  closed = false;
  deadlineStep = -1;
  deadlineIndex = 0;
  isForReview = false;
  reviews = 0;
  takesCalls = true;
  lateMs: number | undefined;
  readonly #now: () => number;
  constructor(deadlineMs: number, now: () => number) {
    this.deadlineMs = deadlineMs;
    this.#now = now;
  }
  onDeadline(): void {
    this.lateMs = this.#now() - this.deadlineMs;
    this.closed = true;
  }
  onReview(): boolean {
    this.reviews += 1;
    return this.takesCalls;
  }
}

/** Runs the deadlines as the loop does, up to a time. */
function clockFrom(startMs: number): { readonly now: () => number; readonly runTo: (deadlines: Deadlines<Thing>, toMs: number) => void } {
  let nowMs = startMs;
  return {
    now: () => nowMs,
    runTo: (deadlines, toMs) => {
      for (; nowMs < toMs; nowMs += Deadlines.stepMs) while (!deadlines.run(nowMs, 16));
    },
  };
}

test('what reaches its deadline is told within two steps, also after its deadline moved', () => {
  const clock = clockFrom(1_000_037);
  const deadlines = new Deadlines<Thing>(clock.now());
  const near = new Thing(clock.now() + 350, clock.now);
  const moved = new Thing(clock.now() + 350, clock.now);
  const far = new Thing(clock.now() + 3_600_000, clock.now);
  for (const thing of [near, moved, far]) deadlines.add(thing);
  moved.deadlineMs += 20_000;
  clock.runTo(deadlines, 1_000_037 + 3_601_000);
  for (const { lateMs } of [near, moved, far]) assert.ok(lateMs !== undefined && lateMs >= 0 && lateMs <= 2 * Deadlines.stepMs, `${lateMs} ms late`);
});

test('what has a far deadline is looked at every few seconds, and let go of as soon as it is over', () => {
  const clock = clockFrom(0);
  const deadlines = new Deadlines<Thing>(0);
  const thing = new Thing(3_600_000, clock.now);
  deadlines.add(thing);
  clock.runTo(deadlines, 60_000);
  assert.ok(thing.reviews >= 12 && thing.reviews <= 18, `${thing.reviews} reviews in a minute`);
  deadlines.remove(thing);
  deadlines.remove(thing);
  assert.equal(deadlines.size, 0);
});

test('two thousand that begin together are not looked at together, and not at all when a first deadline moves far away', () => {
  const clock = clockFrom(0);
  const deadlines = new Deadlines<Thing>(0);
  const things = Array.from({ length: 2_000 }, () => new Thing(1_500, clock.now));
  for (const thing of things) deadlines.add(thing);
  for (const thing of things) thing.deadlineMs = 3_600_000;
  let before = 0;
  for (let nowMs = 0; nowMs < 10_000; nowMs += Deadlines.stepMs) {
    clock.runTo(deadlines, nowMs);
    const reviews = things.reduce((sum, thing) => sum + thing.reviews, 0);
    assert.ok(reviews - before <= 150, `${reviews - before} in one step`);
    if (nowMs <= 3_000) assert.equal(reviews, 0);
    before = reviews;
  }
  assert.ok(before >= 2_000);
});

test('reviews that are due all at once are so many in each turn and no more, however late, and none is left out', () => {
  const deadlines = new Deadlines<Thing>(0);
  const things = Array.from({ length: 1_000 }, () => new Thing(3_600_000, () => 0));
  for (const thing of things) deadlines.add(thing);
  const reviews = (): number => things.reduce((sum, thing) => sum + thing.reviews, 0);
  // Nobody had a turn for six seconds: every review is due, most of them by many steps.
  for (let turn = 1; turn <= 250; turn++) {
    assert.equal(deadlines.run(6_000, 4), turn === 250);
    assert.equal(reviews(), turn * 4);
  }
  assert.ok(things.every((thing) => thing.reviews === 1));
});

test('reviews that take no system calls are done together, a thousand at most', () => {
  const deadlines = new Deadlines<Thing>(0);
  const things = Array.from({ length: 1_500 }, () => new Thing(3_600_000, () => 0));
  for (const thing of things) {
    thing.takesCalls = false;
    deadlines.add(thing);
  }
  const reviews = (): number => things.reduce((sum, thing) => sum + thing.reviews, 0);
  for (let turn = 0; turn < 4; turn++) {
    const before = reviews();
    deadlines.run(6_000, 4);
    assert.ok(reviews() - before <= 1_024);
  }
  assert.equal(reviews(), 1_500);
});

test('however many are due at once, only so many are looked at in a row; what is a step late is looked at all the same', () => {
  const nowMs = 1_000;
  const deadlines = new Deadlines<Thing>(0);
  const things = Array.from({ length: 100 }, () => new Thing(500, () => nowMs));
  for (const thing of things) deadlines.add(thing);
  const told = (): number => things.filter(({ lateMs }) => lateMs !== undefined).length;
  assert.equal(deadlines.run(610, 16), false);
  assert.equal(told(), 16);
  assert.equal(deadlines.run(620, 16), false);
  assert.equal(told(), 32);
  assert.equal(deadlines.run(720, 16), true);
  assert.equal(told(), 100);
});

test('any of them may be removed in any order, during a run too, and the others are told in time', () => {
  const clock = clockFrom(0);
  const deadlines = new Deadlines<Thing>(0);
  const things = Array.from({ length: 300 }, (_, i) => new Thing(500 + (i % 3) * 400, clock.now));
  for (const thing of things) deadlines.add(thing);
  const removed = new Set(things.filter((_, i) => i % 7 === 3));
  for (const thing of removed) deadlines.remove(thing);
  // Of one step: whichever is told first ends the other, and takes one of another step away.
  const [first, second] = [things[0], things[6]];
  const later = things[1];
  assert.ok(first !== undefined && second !== undefined && later !== undefined);
  for (const [one, other] of [[first, second], [second, first]] as const) {
    const tell = one.onDeadline.bind(one);
    one.onDeadline = () => {
      tell();
      other.closed = true;
      deadlines.remove(other);
      deadlines.remove(later);
    };
  }
  clock.runTo(deadlines, 3_000);
  assert.equal([first, second].filter(({ lateMs }) => lateMs !== undefined).length, 1);
  for (const thing of things) {
    if (thing !== first && thing !== second) assert.equal(thing.lateMs !== undefined, !removed.has(thing) && thing !== later, 'told once, unless removed');
  }
  assert.equal(deadlines.size, 0);
});
