// Waiting between tries: exponential with full jitter, so that many who failed together do not come back together.
import type { Clock, Random } from './clock.ts';

export type BackoffOptions = { readonly baseMs: number; readonly maxMs: number; readonly random: Random };

export interface Backoff {
  /** The next wait: uniform in [0, min(maxMs, baseMs × 2^n)). */
  nextMs(): number;
  /** To be called after a success. */
  reset(): void;
}

/** Full jitter, after the field's practice (facts 4: Envoy's back-off is uniform below its bound too). */
export function backoff({ baseMs, maxMs, random }: BackoffOptions): Backoff {
  let attempt = 0;
  return {
    nextMs: () => {
      const boundMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
      attempt += 1;
      return random() * boundMs;
    },
    reset: () => {
      attempt = 0;
    },
  };
}

/**
 * Runs `attempt` again and again until the signal aborts. After a throw it waits by the backoff; after a return it goes
 * on at once, unless the attempt stood for less than `baseMs`: a far end that hangs up at once must not be called in a
 * tight loop. An attempt that stood for longer than `maxMs` counts as a success for the backoff. Never throws.
 */
export async function retryForever(options: {
  readonly clock: Clock;
  readonly backoff: BackoffOptions;
  readonly signal: AbortSignal;
  readonly attempt: () => Promise<void>;
  readonly onError: (error: unknown, waitMs: number) => void;
}): Promise<void> {
  const { clock, signal } = options;
  const waits = backoff(options.backoff);
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    let waitMs = 0;
    try {
      await options.attempt();
      if (clock.monotonicMs() - startedMs < options.backoff.baseMs) waitMs = waits.nextMs();
      else waits.reset();
    } catch (error) {
      if (signal.aborted) return;
      if (clock.monotonicMs() - startedMs > options.backoff.maxMs) waits.reset();
      waitMs = waits.nextMs();
      options.onError(error, waitMs);
    }
    await clock.sleep(waitMs, signal).catch(() => undefined);
  }
}
