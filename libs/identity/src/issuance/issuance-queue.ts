// Who is served first when all come at once: the soonest to expire; who cannot be served soon is told when to come again.
import type { Clock, Random, TimerHandle } from '@isthmus/runtime';
import { fail } from '../errors.ts';

export type IssuanceQueueOptions = {
  readonly clock: Clock;
  readonly random: Random;
  /** Requests that are worked on at once: enough to keep signing busy while the store answers. 64. */
  readonly maxRunning?: number;
  /** Requests that wait. 2,000. */
  readonly maxWaiting?: number;
  /** Longest wait; callers give up after 10 s, and what they gave up would be signed for nobody. 5 s. */
  readonly maxWaitMs?: number;
};

export interface IssuanceQueue {
  /**
   * Does the work when its turn comes. `expiresAtMs` is when the caller's identity ends: the lower, the sooner its turn.
   * **Throws** IDENTITY_BUSY with `retryAfterMs` when it will not come in time.
   */
  run<T>(expiresAtMs: number, work: () => Promise<T>): Promise<T>;
  readonly waiting: number;
  close(): void;
}

type Waiter = { readonly expiresAtMs: number; readonly sinceMs: number; readonly begin: () => void; readonly refuse: () => void };

const MIN_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
const SWEEP_MS = 500;

export function openIssuanceQueue(options: IssuanceQueueOptions): IssuanceQueue {
  const { clock, random, maxRunning = 64, maxWaiting = 2_000, maxWaitMs = 5_000 } = options;
  /** The latest to expire first, so that both ends are cheap to take from. */
  const waiters: Waiter[] = [];
  let running = 0;
  let perSecond = 500;
  let lastEndMs: number | undefined;
  let sweeper: TimerHandle | undefined;

  const noteEnd = (): void => {
    const nowMs = clock.monotonicMs();
    if (lastEndMs !== undefined && nowMs > lastEndMs) perSecond += (Math.min(10_000, 1_000 / (nowMs - lastEndMs)) - perSecond) * 0.02;
    lastEndMs = nowMs;
  };
  /** As long as those before it take, spread so that they do not come back at once, and well before the caller's end. */
  const busy = (expiresAtMs: number): Error => {
    const aheadMs = (waiters.length / Math.max(1, perSecond)) * 1_000;
    const spreadMs = Math.max(MIN_RETRY_MS, aheadMs) * (1 + random());
    const leftMs = Math.max(0, expiresAtMs - clock.nowMs());
    const retryAfterMs = Math.round(Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, Math.min(spreadMs, leftMs / 8))));
    return fail('IDENTITY_BUSY', 'more ask for certificates than can be served now, and others expire sooner', { facts: { retryAfterMs } });
  };
  const sweep = (): void => {
    sweeper = undefined;
    const tooOld = clock.monotonicMs() - maxWaitMs;
    for (let i = waiters.length - 1; i >= 0; i--) if ((waiters[i]?.sinceMs ?? 0) <= tooOld) waiters.splice(i, 1)[0]?.refuse();
    armSweep();
  };
  const armSweep = (): void => {
    if (waiters.length > 0) sweeper ??= clock.setTimer(SWEEP_MS, sweep);
  };
  const turn = (expiresAtMs: number): Promise<void> => {
    if (running < maxRunning) {
      running += 1;
      return Promise.resolve();
    }
    const last = waiters[0];
    if (waiters.length >= maxWaiting && (last === undefined || last.expiresAtMs <= expiresAtMs)) return Promise.reject(busy(expiresAtMs));
    if (waiters.length >= maxWaiting) waiters.shift()?.refuse();
    return new Promise((resolve, reject) => {
      waiters.splice(placeOf(waiters, expiresAtMs), 0, { expiresAtMs, sinceMs: clock.monotonicMs(), begin: resolve, refuse: () => reject(busy(expiresAtMs)) });
      armSweep();
    });
  };
  return {
    async run(expiresAtMs, work) {
      await turn(expiresAtMs);
      try {
        return await work();
      } finally {
        noteEnd();
        // The place goes on to the next as it is, so that nobody slips in between.
        const next = waiters.pop();
        if (next === undefined) running -= 1;
        else next.begin();
      }
    },
    get waiting() {
      return waiters.length;
    },
    close() {
      sweeper?.cancel();
      for (const waiter of waiters.splice(0)) waiter.refuse();
    },
  };
}

/** Where a waiter belongs: behind (before, in the order of turns) those that expire sooner or at the same time. */
function placeOf(waiters: readonly Waiter[], expiresAtMs: number): number {
  let [low, high] = [0, waiters.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((waiters[middle]?.expiresAtMs ?? 0) > expiresAtMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
