// The keys that sign a cluster's JWT-SVIDs: made when the first is asked for, published in the bundle before they sign, replaced in time.
import { type JwtAuthority, messageOf, type SpiffeId } from '@isthmus/model';
import { signJwtSvid } from '@isthmus/pki';
import { type Backoff, backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { JwtKey, JwtKeyFile } from './jwt-key-file.ts';

const DAY_MS = 86_400_000;
/** From its making a key is in the bundle so long; it signs for the first half of that, until the next has settled. */
const KEY_LIFE_MS = 7 * DAY_MS;
/** How long a key is published before it signs, so that who refreshes bundles by the hint (5 min) has it. The first does not wait. */
const SETTLE_MS = 600_000;
/** Published again so often, for a trust root that was restored from a backup. */
const REPUBLISH_MS = 3_600_000;
const PUBLISH_TIMEOUT_MS = 10_000;
export const JWT_TTL_MS = 300_000;

type KeyTimes = { readonly createdAtMs: number; readonly publishedAtMs?: number | undefined };

/** Whether a new key is due, which of the keys may stay, and when to look again. Oldest first. */
export function planKeys<K extends KeyTimes>(keys: readonly K[], nowMs: number): { readonly keep: readonly K[]; readonly isNewDue: boolean; readonly nextMs: number } {
  const keep = keys.filter((key) => key.createdAtMs + KEY_LIFE_MS > nowMs);
  const newest = keep.at(-1);
  const dueMs = newest === undefined ? nowMs : newest.createdAtMs + KEY_LIFE_MS / 2;
  const isNewDue = dueMs <= nowMs;
  return { keep, isNewDue, nextMs: isNewDue ? 0 : Math.min(dueMs - nowMs, ...keep.map((key) => key.createdAtMs + KEY_LIFE_MS - nowMs)) };
}

/** The newest key that all have had time to learn of; else the oldest that is published at all. */
export function signingKey<K extends KeyTimes>(keys: readonly K[], nowMs: number): K | undefined {
  const settled = keys.findLast((key) => key.publishedAtMs !== undefined && key.publishedAtMs + SETTLE_MS <= nowMs);
  return settled ?? keys.find((key) => key.publishedAtMs !== undefined);
}

export interface JwtKeys {
  /** **Throws** IDENTITY_JWT_NOT_READY until a key is in this trust domain's bundle. */
  sign(request: { readonly spiffeId: SpiffeId; readonly audience: readonly string[] }): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  close(): Promise<void>;
}

/** Goes on with the keys that were kept; without any, none are made before the first signature is asked for. */
export function openJwtKeys(options: JwtKeysOptions): JwtKeys {
  return new KeptKeys(options);
}

export type JwtKeysOptions = {
  readonly kept: JwtKeyFile;
  /** Puts these keys, and no others, into the trust domain's bundle; resolves when that is so everywhere the trust root is heard. */
  readonly publish: (keys: readonly JwtAuthority[], signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
};

class KeptKeys implements JwtKeys {
  private readonly options: JwtKeysOptions;
  private readonly closing = new AbortController();
  private readonly retry: Backoff;
  private keys: readonly JwtKey[];
  private timer: { cancel(): void } | undefined;
  private underWay: Promise<void> | undefined;

  constructor(options: JwtKeysOptions) {
    this.options = options;
    this.keys = options.kept.keys;
    this.retry = backoff({ baseMs: 500, maxMs: 60_000, random: options.random });
    if (this.keys.length > 0) this.wakeAfter(0);
  }

  async sign({ spiffeId, audience }: Parameters<JwtKeys['sign']>[0]): Promise<{ readonly token: string; readonly expiresAtMs: number }> {
    const nowMs = this.options.clock.nowMs();
    if (signingKey(this.keys, nowMs) === undefined) await this.keep();
    const chosen = signingKey(this.keys, nowMs);
    if (chosen === undefined) throw fail('IDENTITY_JWT_NOT_READY', 'this cluster’s key for JWT-SVIDs is not in its bundle yet', { hint: 'the trust root must be reached once to publish it' });
    const token = await signJwtSvid({ key: chosen.key, keyId: chosen.authority.keyId, spiffeId, audience, nowMs, ttlMs: JWT_TTL_MS });
    return { token, expiresAtMs: nowMs + JWT_TTL_MS };
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.timer?.cancel();
    await this.underWay;
  }

  private wakeAfter(delayMs: number): void {
    this.timer?.cancel();
    if (!this.closing.signal.aborted) this.timer = this.options.clock.setTimer(delayMs, () => void this.keep());
  }

  /** Makes what is due, publishes, and sets the next time to look. Never rejects. */
  private keep(): Promise<void> {
    this.underWay ??= this.keepOnce()
      .then(
        (nextMs) => {
          this.retry.reset();
          this.wakeAfter(nextMs);
        },
        (error: unknown) => {
          if (this.closing.signal.aborted) return;
          this.options.log.warn('the keys of JWT-SVIDs are not published', { error: messageOf(error) });
          this.wakeAfter(Math.max(500, this.retry.nextMs()));
        },
      )
      .finally(() => (this.underWay = undefined));
    return this.underWay;
  }

  private async keepOnce(): Promise<number> {
    const { clock, log, publish, kept } = this.options;
    const { keep, isNewDue } = planKeys(this.keys, clock.nowMs());
    this.keys = isNewDue ? [...keep, await kept.make(clock.nowMs())] : keep;
    // On disk before it is published: a key that others trust must not be lost by a restart that goes on signing.
    if (isNewDue) {
      await kept.write(this.keys);
      log.info('key for JWT-SVIDs made', { keyId: this.keys.at(-1)?.authority.keyId });
    }
    await publish(this.keys.map((key) => key.authority), AbortSignal.any([this.closing.signal, AbortSignal.timeout(PUBLISH_TIMEOUT_MS)]));
    if (this.keys.some((key) => key.publishedAtMs === undefined)) {
      const nowMs = clock.nowMs();
      this.keys = this.keys.map((key) => ({ ...key, publishedAtMs: key.publishedAtMs ?? nowMs }));
      await kept.write(this.keys);
    }
    return Math.max(500, Math.min(REPUBLISH_MS, planKeys(this.keys, clock.nowMs()).nextMs));
  }
}
