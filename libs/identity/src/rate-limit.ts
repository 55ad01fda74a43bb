// A token bucket for each caller, and a bound on how many callers are remembered.
import type { Clock } from '@isthmus/runtime';

export type RateLimit = {
  /** Takes one; false when this caller has none left. */
  take(caller: string): boolean;
};

/** **Bounds** `maxCallers` buckets (10,000); the one longest unused is forgotten, which can only be generous to it. */
export function openRateLimit(options: {
  readonly burst: number;
  readonly perSecond: number;
  readonly clock: Clock;
  readonly maxCallers?: number;
}): RateLimit {
  const { burst, perSecond, clock, maxCallers = 10_000 } = options;
  const buckets = new Map<string, { tokens: number; atMs: number }>();
  return {
    take(caller) {
      const nowMs = clock.monotonicMs();
      const known = buckets.get(caller);
      const tokens = known === undefined ? burst : Math.min(burst, known.tokens + ((nowMs - known.atMs) / 1_000) * perSecond);
      buckets.delete(caller);
      buckets.set(caller, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: nowMs });
      if (buckets.size > maxCallers) {
        const oldest = buckets.keys().next();
        if (oldest.done !== true) buckets.delete(oldest.value);
      }
      return tokens >= 1;
    },
  };
}
