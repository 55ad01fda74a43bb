// A token bucket for each caller, and a bound on how many callers are remembered.
import type { Clock } from '@isthmus/runtime';

export type RateLimit = {
  /** Takes one; false when this caller has none left. */
  take(caller: string): boolean;
  /** Takes so many more after the fact, into debt where there are not enough: what turned out dearer than it looked. */
  charge(caller: string, count: number): void;
  /** Milliseconds until this caller has one again; 0 where it has. */
  waitMs(caller: string): number;
  /** Callers remembered. */
  readonly size: number;
};

/**
 * **Bounds** `maxCallers` buckets (10,000); the one longest unused is forgotten, which can only be generous to it. A debt
 * is never deeper than the burst.
 */
export function openRateLimit(options: {
  readonly burst: number;
  readonly perSecond: number;
  readonly clock: Clock;
  readonly maxCallers?: number;
}): RateLimit {
  const { burst, perSecond, clock, maxCallers = 10_000 } = options;
  const buckets = new Map<string, { readonly tokens: number; readonly atMs: number }>();

  const tokensOf = (caller: string): number => {
    const known = buckets.get(caller);
    return known === undefined ? burst : Math.min(burst, known.tokens + ((clock.monotonicMs() - known.atMs) / 1_000) * perSecond);
  };
  const keep = (caller: string, tokens: number): void => {
    buckets.delete(caller);
    buckets.set(caller, { tokens, atMs: clock.monotonicMs() });
    if (buckets.size <= maxCallers) return;
    const oldest = buckets.keys().next();
    if (oldest.done !== true) buckets.delete(oldest.value);
  };
  return {
    take(caller) {
      const tokens = tokensOf(caller);
      keep(caller, tokens >= 1 ? tokens - 1 : tokens);
      return tokens >= 1;
    },
    charge: (caller, count) => keep(caller, Math.max(-burst, tokensOf(caller) - count)),
    waitMs(caller) {
      const missing = 1 - tokensOf(caller);
      return missing <= 0 ? 0 : Math.ceil((missing / Math.max(perSecond, 0.001)) * 1_000);
    },
    get size() {
      return buckets.size;
    },
  };
}
