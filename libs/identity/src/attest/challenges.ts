// Nonces given out and taken back: each good once, for a short time, on the connection it was given to, and never many at once.
import { randomBytes } from 'node:crypto';
import type { Clock } from '@isthmus/runtime';

const LIFE_MS = 30_000;
const MAX_OPEN = 4_096;
const MAX_OPEN_EACH = 2;
const NONCE_BYTES = 32;

export interface Challenges {
  readonly lifeMs: number;
  issue(connection: string): Buffer;
  /** Whether this nonce was given to this connection and is still good; it is not any more afterwards. */
  take(connection: string, nonce: Uint8Array): boolean;
}

/** **Bounds** 4,096 open nonces, the oldest given up first, and two for each connection; 30 s each. */
export function openChallenges(clock: Clock): Challenges {
  /** In the order they were given, so that the first is the oldest. */
  const open = new Map<string, { readonly connection: string; readonly endMs: number }>();
  const idOf = (nonce: Uint8Array): string => Buffer.from(nonce).toString('base64');

  const dropOver = (): void => {
    for (const [id, { endMs }] of open) {
      if (endMs > clock.monotonicMs() && open.size < MAX_OPEN) break;
      open.delete(id);
    }
  };
  return {
    lifeMs: LIFE_MS,
    issue(connection) {
      dropOver();
      const own = [...open].filter(([, one]) => one.connection === connection);
      for (const [id] of own.slice(0, Math.max(0, own.length - MAX_OPEN_EACH + 1))) open.delete(id);
      const nonce = randomBytes(NONCE_BYTES);
      open.set(idOf(nonce), { connection, endMs: clock.monotonicMs() + LIFE_MS });
      return nonce;
    },
    take(connection, nonce) {
      const id = idOf(nonce);
      const found = open.get(id);
      // Shown on another connection it is spoilt too: somebody tries to use what is not theirs.
      open.delete(id);
      return found !== undefined && found.connection === connection && found.endMs > clock.monotonicMs();
    },
  };
}
