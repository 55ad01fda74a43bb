import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMetrics } from '@isthmus/telemetry';
import { systemClock } from './clock.ts';
import { watchEventLoop } from './event-loop.ts';
import { fakeClock } from './testing.ts';

/** Stands still as a long computation does. */
function block(forMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

test('a loop that stood still is unresponsive at once, stays so for a while, and recovers; the stall is counted', { timeout: 20_000 }, async () => {
  const metrics = openMetrics();
  const watch = watchEventLoop({ clock: systemClock, metrics, stallMs: 300, distrustMs: 400 });
  try {
    assert.equal(watch.isResponsive(), true);
    block(600);
    assert.equal(watch.isResponsive(), false, 'before its own timer has run');
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(watch.isResponsive(), false, 'and after');
    await until(() => watch.isResponsive());
    const text = await metrics.text();
    assert.match(text, /^isthmus_event_loop_stalls_total 1$/m);
    assert.match(text, /^isthmus_event_loop_delay_seconds_bucket\{le="0.25"\} \d+$/m);
    const sum = Number(/^isthmus_event_loop_delay_seconds_sum (.+)$/m.exec(text)?.[1]);
    assert.ok(sum > 0.3, `delays of ${sum} s in all`);
  } finally {
    watch.close();
  }
});

test('a loop in time is responsive, and nothing of the watch is left after close', async () => {
  const clock = fakeClock();
  const metrics = openMetrics();
  const watch = watchEventLoop({ clock, metrics });
  await clock.advance(60_000);
  assert.equal(watch.isResponsive(), true);
  assert.match(await metrics.text(), /^isthmus_event_loop_delay_seconds_count 600$/m);
  watch.close();
  assert.equal(clock.pending(), 0);
});
