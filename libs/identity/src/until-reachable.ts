// The first contact with an authority that may still be starting: tried again for a while, and only where that can help.
import { IsthmusError, messageOf } from '@isthmus/model';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

/** Answers as `attempt` does; failures to reach it are tried again, with backoff, until `limitMs` is over. */
export async function untilReachable<T>(
  options: { readonly clock: Clock; readonly random: Random; readonly log: Log; readonly limitMs: number; readonly what: string; readonly signal?: AbortSignal },
  attempt: () => Promise<T>,
): Promise<T> {
  const { clock, log, limitMs } = options;
  const endMs = clock.monotonicMs() + limitMs;
  const wait = backoff({ baseMs: 200, maxMs: 5_000, random: options.random });
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const mayHelp = error instanceof IsthmusError && (error.class === 'unavailable' || error.class === 'timeout');
      const waitMs = Math.max(50, wait.nextMs());
      if (!mayHelp || clock.monotonicMs() + waitMs >= endMs) throw error;
      log.warn('no answer yet, trying again', { what: options.what, error: messageOf(error), waitMs: Math.round(waitMs) });
      await clock.sleep(waitMs, options.signal);
    }
  }
}
