// How often one may try to join: by address and by connection, a failure dearer than a success, the memory of it bounded.
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { openRateLimit } from '../rate-limit.ts';

/** Attempts at once and a second. */
export type AttemptRate = { readonly burst: number; readonly perSecond: number };

/** For one address: a rack of machines that starts at once gets in, a thousand attempts a second do not. */
const ADDRESS: AttemptRate = { burst: 200, perSecond: 50 };
/** For one connection: whoever joins needs two calls, and through a gateway all have one address. */
const CONNECTION: AttemptRate = { burst: 60, perSecond: 2 };
/** A failure counts as so many attempts: guessing is dear, joining is cheap. */
const FAILURE_COSTS = { address: 10, connection: 5 };

export interface AttemptLimit {
  /** **Throws** IDENTITY_RATE_LIMITED with `retryAfterMs`, and `by`: `address` where the connection alone could go on. */
  enter(who: { readonly address: string; readonly connection: string }): void;
  failed(who: { readonly address: string; readonly connection: string }): void;
  /** Addresses and connections remembered. */
  readonly size: number;
}

/** **Bounds** 10,000 addresses and as many connections are remembered, those longest unused forgotten first. */
export function openAttemptLimit(clock: Clock, rate: AttemptRate = ADDRESS): AttemptLimit {
  const byAddress = openRateLimit({ ...rate, clock });
  const byConnection = openRateLimit({ ...CONNECTION, clock });
  return {
    enter({ address, connection }) {
      const isConnectionFree = byConnection.take(connection);
      if (isConnectionFree && byAddress.take(address)) return;
      const retryAfterMs = Math.max(byConnection.waitMs(connection), byAddress.waitMs(address), 1_000);
      throw fail('IDENTITY_RATE_LIMITED', `${address} tries to join too often`, { facts: { retryAfterMs, by: isConnectionFree ? 'address' : 'connection' } });
    },
    failed({ address, connection }) {
      byAddress.charge(address, FAILURE_COSTS.address - 1);
      byConnection.charge(connection, FAILURE_COSTS.connection - 1);
    },
    get size() {
      return byAddress.size + byConnection.size;
    },
  };
}
