// When a bundle endpoint is asked: at its own hint, with jitter, failed or not; at once only where a person changed something.
import { messageOf } from '@isthmus/model';
import type { Clock, Random } from '@isthmus/runtime';

const DEFAULT_HINT_SECONDS = 300;
/** However long the hint: a revocation must not wait for weeks. */
const CEILING_MS = 3_600_000;
const POLL_LIMIT_MS = 15_000;
/** The first poll waits up to so long, so that many trust domains are not asked in one moment. */
const FIRST_MS = 500;

export interface Poller {
  /** Polls in a moment whatever the hint says: after an import or a new declaration. */
  pollSoon(): void;
  status(): { readonly nextAtMs: number; readonly lastError: string | undefined };
  /** Ends it and the poll under way. */
  close(): Promise<void>;
}

/** How long until the next poll: the hint give or take a tenth (`random` from 0 to 1 decides), within floor and an hour. */
export function pollDelayMs(hintSeconds: number | undefined, floorMs: number, random: number): number {
  const hintMs = (hintSeconds ?? DEFAULT_HINT_SECONDS) * 1_000;
  return Math.min(CEILING_MS, Math.max(floorMs, hintMs)) * (0.9 + 0.2 * random);
}

/**
 * Polls until closed, each poll within 15 s. A failed one is made again at the next regular time, not at once: an
 * endpoint that struggles is not helped by more calls. **Source** SPIFFE Federation §4.2.
 */
export function openPoller(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly floorMs: number;
  readonly hintSeconds: () => number | undefined;
  /** Rejects when there was nothing good. */
  readonly poll: (signal: AbortSignal) => Promise<void>;
}): Poller {
  const { clock, random, floorMs } = options;
  const closing = new AbortController();
  let timer: { cancel(): void } | undefined;
  let underWay: Promise<void> | undefined;
  let isAskedAgain = false;
  let nextAtMs = 0;
  let lastError: string | undefined;

  const after = (delayMs: number): void => {
    timer?.cancel();
    if (closing.signal.aborted) return;
    nextAtMs = Math.round(clock.nowMs() + delayMs);
    timer = clock.setTimer(delayMs, () => {
      underWay = once().finally(() => (underWay = undefined));
    });
  };
  const once = async (): Promise<void> => {
    const limit = new AbortController();
    const onClose = (): void => limit.abort(new Error('closed'));
    closing.signal.addEventListener('abort', onClose, { once: true });
    const limitTimer = clock.setTimer(POLL_LIMIT_MS, () => limit.abort(new Error(`no answer in ${POLL_LIMIT_MS} ms`)));
    try {
      await options.poll(limit.signal);
      lastError = undefined;
    } catch (error) {
      lastError = messageOf(error);
    } finally {
      limitTimer.cancel();
      closing.signal.removeEventListener('abort', onClose);
    }
    after(isAskedAgain ? 0 : pollDelayMs(options.hintSeconds(), floorMs, random()));
    isAskedAgain = false;
  };
  after(random() * FIRST_MS);
  return {
    pollSoon: () => {
      if (underWay === undefined) after(0);
      else isAskedAgain = true;
    },
    status: () => ({ nextAtMs, lastError }),
    close: async () => {
      closing.abort();
      timer?.cancel();
      await underWay;
    },
  };
}
