// Time as a parameter: the real clock lives here and nowhere else.
import { performance } from 'node:perf_hooks'; // the global is a getter, and costs every request a look-up

export interface TimerHandle {
  cancel(): void;
}

/** Wall time for people and certificates, monotonic time for ages and limits, timers with an owner. */
export interface Clock {
  nowMs(): number;
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs`; any length, also past the 24.8 days setTimeout can do. */
  setTimer(delayMs: number, fn: () => void): TimerHandle;
  /** **Throws** the signal's reason when it is aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** A number in [0, 1). */
export type Random = () => number;
export const systemRandom: Random = Math.random;

/** Longest delay of one setTimeout (2^31 - 1 ms). */
const MAX_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: (delayMs, fn) => longTimer(delayMs, fn, (restMs, then) => {
    const handle = setTimeout(then, restMs);
    return () => clearTimeout(handle);
  }),
  sleep: (delayMs, signal) => sleepOn(systemClock, delayMs, signal),
};

/** A timer of any length, made of timers `start` can do. */
export function longTimer(delayMs: number, fn: () => void, start: (delayMs: number, fn: () => void) => () => void): TimerHandle {
  let stop: () => void;
  const arm = (restMs: number): void => {
    stop = restMs > MAX_TIMER_MS ? start(MAX_TIMER_MS, () => arm(restMs - MAX_TIMER_MS)) : start(Math.max(0, restMs), fn);
  };
  arm(delayMs);
  return { cancel: () => stop() };
}

/** Sleeping on any clock's timers. */
export function sleepOn(clock: Pick<Clock, 'setTimer'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
