// Time in ticks: none is shorter than its limit, and none overruns it by much.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { Ticks } from './ticks.ts';

test('a tick is half of the shortest limit at most, five seconds at most, ten milliseconds at least', () => {
  assert.equal(new Ticks({ headMs: 600, keepAliveMs: 400, idleMs: 900 }).tickMs, 200);
  assert.equal(new Ticks(HTTP_LIMITS).tickMs, 5_000);
  assert.equal(new Ticks({ headMs: 1, keepAliveMs: 1, idleMs: 1 }).tickMs, 10);
});

test('what began or moved just before a tick gets its whole limit all the same', () => {
  const ticks = new Ticks({ headMs: 1_000, keepAliveMs: 5_000, idleMs: 2_000 });
  const turnsOf = (isOver: () => boolean): number => {
    ticks.now = 7;
    while (!isOver()) ticks.now += 1;
    return ticks.now - 7;
  };
  const { tickMs } = ticks;
  for (const [turns, limitMs] of [[turnsOf(() => ticks.isLate(7)), 1_000], [turnsOf(() => ticks.isIdle(7)), 2_000]] as const) {
    assert.ok((turns - 1) * tickMs >= limitMs, 'the first tick may come at once');
    assert.ok((turns - 2) * tickMs < limitMs, 'and there is none too many');
  }
  ticks.now = 9;
  assert.equal(ticks.msSince(7), 2 * tickMs);
});
