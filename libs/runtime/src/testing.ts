// A clock that moves only when told.
import { type Clock, sleepOn } from './clock.ts';

export type FakeClock = Clock & {
  /** Moves time on, firing timers in order and letting promises settle after each. */
  advance(byMs: number): Promise<void>;
  /** Timers that wait. */
  pending(): number;
};

/** Starts at Unix time `startMs` (default 2026-01-01) and monotonic 0. */
export function fakeClock(startMs = Date.UTC(2026, 0, 1)): FakeClock {
  let elapsedMs = 0;
  let serial = 0;
  const timers = new Map<number, { readonly dueMs: number; readonly fn: () => void }>();
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const clock: FakeClock = {
    nowMs: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    setTimer: (delayMs, fn) => {
      const id = ++serial;
      timers.set(id, { dueMs: elapsedMs + Math.max(0, delayMs), fn });
      return { cancel: () => void timers.delete(id) };
    },
    sleep: (delayMs, signal) => sleepOn(clock, delayMs, signal),
    advance: async (byMs) => {
      const untilMs = elapsedMs + byMs;
      for (;;) {
        await settle();
        const next = [...timers].filter(([, t]) => t.dueMs <= untilMs).sort(([a, x], [b, y]) => x.dueMs - y.dueMs || a - b)[0];
        if (next === undefined) break;
        timers.delete(next[0]);
        elapsedMs = Math.max(elapsedMs, next[1].dueMs);
        next[1].fn();
      }
      elapsedMs = untilMs;
      await settle();
    },
    pending: () => timers.size,
  };
  return clock;
}
