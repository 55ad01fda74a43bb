import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadlines, type Limited } from './deadlines.ts';

class Thing implements Limited {
  deadlineMs: number;
  closed = false;
  reviews = 0;
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
  onReview(): void {
    this.reviews += 1;
  }
}

/** Runs the deadlines as the loop does, up to a time. */
function clockFrom(startMs: number): { readonly now: () => number; readonly runTo: (deadlines: Deadlines<Thing>, toMs: number) => void } {
  let nowMs = startMs;
  return {
    now: () => nowMs,
    runTo: (deadlines, toMs) => {
      for (; nowMs < toMs; nowMs += Deadlines.stepMs) deadlines.run(nowMs);
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

test('what has a far deadline is looked at every few seconds, and let go of soon after it closed', () => {
  const clock = clockFrom(0);
  const deadlines = new Deadlines<Thing>(0);
  const thing = new Thing(3_600_000, clock.now);
  deadlines.add(thing);
  clock.runTo(deadlines, 60_000);
  assert.ok(thing.reviews >= 10 && thing.reviews <= 13, `${thing.reviews} reviews in a minute`);
  thing.closed = true;
  clock.runTo(deadlines, 70_000);
  assert.equal(deadlines.size, 0);
});
