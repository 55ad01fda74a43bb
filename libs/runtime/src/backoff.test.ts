import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { backoff, retryForever } from './backoff.ts';
import { type FakeClock, fakeClock } from './testing.ts';

test('waits double their bound up to the maximum, and begin anew after a success', () => {
  const waits = backoff({ baseMs: 100, maxMs: 1_000, random: () => 0.5 });
  assert.deepEqual(Array.from({ length: 6 }, () => waits.nextMs()), [50, 100, 200, 400, 500, 500]);
  waits.reset();
  assert.equal(waits.nextMs(), 50);
});

test('no wait is ever negative or over the maximum, however long it goes wrong', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 100_000 }), fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 2_000 }), (baseMs, maxMs, chances) => {
      let i = 0;
      const waits = backoff({ baseMs, maxMs, random: () => chances[i++ % chances.length] ?? 0 });
      for (let n = 0; n < 1_100; n++) {
        const waitMs = waits.nextMs();
        assert.ok(waitMs >= 0 && waitMs < Math.min(maxMs, baseMs * 2 ** n) + Number.EPSILON, `${waitMs} at ${n}`);
      }
    }),
    { numRuns: 30 },
  );
});

function aRetry(attempt: (n: number, clock: FakeClock) => Promise<void>, random = () => 0.5) {
  const clock = fakeClock();
  const abort = new AbortController();
  const seen: { attempts: number[]; errors: string[] } = { attempts: [], errors: [] };
  const done = retryForever({
    clock,
    backoff: { baseMs: 100, maxMs: 1_000, random },
    signal: abort.signal,
    attempt: () => {
      seen.attempts.push(clock.monotonicMs());
      return attempt(seen.attempts.length, clock);
    },
    onError: (error, waitMs) => seen.errors.push(`${(error as Error).message} ${waitMs}`),
  });
  return { clock, abort, seen, done };
}

test('an attempt that throws is made again after a growing wait, and each failure is told', async () => {
  const { clock, abort, seen, done } = aRetry(() => Promise.reject(new Error('away')));
  await clock.advance(400);
  assert.deepEqual(seen.attempts, [0, 50, 150, 350]);
  assert.deepEqual(seen.errors, ['away 50', 'away 100', 'away 200', 'away 400']);
  abort.abort();
  await clock.advance(0);
  await done;
});

test('an attempt that stood for long begins with a short wait again', async () => {
  const { clock: time, abort, seen, done } = aRetry(async (n, clock) => {
    if (n === 5) await clock.sleep(5_000);
    throw new Error('away');
  });
  await time.advance(750);
  assert.deepEqual(seen.attempts.length, 5);
  await time.advance(5_000);
  assert.equal(seen.errors.at(-1), 'away 50');
  abort.abort();
  await time.advance(0);
  await done;
});

test('an attempt that returns is followed at once by the next, unless it ended as soon as it began', async () => {
  const slow = aRetry((_n, clock) => clock.sleep(200));
  await slow.clock.advance(600);
  assert.deepEqual(slow.seen.attempts, [0, 200, 400, 600]);
  const quick = aRetry(() => Promise.resolve());
  await quick.clock.advance(10_000);
  assert.ok(quick.seen.attempts.length < 30, `${quick.seen.attempts.length} attempts in ten seconds`);
  for (const { abort, clock, done } of [slow, quick]) {
    abort.abort();
    await clock.advance(200);
    await done;
  }
});

test('aborting ends it in the middle of a wait, and no error after that is told', async () => {
  const { clock, abort, seen, done } = aRetry(() => Promise.reject(new Error('away')));
  await clock.advance(10);
  abort.abort();
  await done;
  await clock.advance(10_000);
  assert.equal(seen.attempts.length, 1);
  assert.equal(clock.pending(), 0);
});
