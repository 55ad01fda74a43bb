// Keeping an SVID fresh: renewed at half its life with jitter, the old one kept through every failure.
import type { SvidSource, X509Svid } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

export type KeepFreshOptions = {
  /** Gets a new SVID, already checked; a rejection is retried with backoff. */
  readonly request: (signal: AbortSignal) => Promise<X509Svid>;
  /** What to begin with; without it the first request is made at once. */
  readonly initial?: X509Svid | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Limit of one request. 15 s. */
  readonly requestTimeoutMs?: number;
  /** Told of every failed request. */
  readonly onError?: (error: unknown) => void;
};

/** A source that renews itself; `close` stops renewing and leaves the last SVID readable. */
export interface FreshSvid extends SvidSource {
  /** Renews now, whatever the timer says; resolves when a request was answered or failed. */
  renewNow(): Promise<void>;
  close(): void;
}

/**
 * How long to wait before renewing: half the life after it began, give or take 10 %, never less than 0.
 * Source: SPIRE rotates at half life (facts 2).
 */
export function renewalDelayMs(svid: { readonly notBeforeMs: number; readonly expiresAtMs: number }, nowMs: number, random: number): number {
  const lifeMs = svid.expiresAtMs - svid.notBeforeMs;
  return Math.max(0, svid.notBeforeMs + lifeMs * (0.5 + (random * 2 - 1) * 0.1) - nowMs);
}

export function keepFresh(_options: KeepFreshOptions): FreshSvid {
  throw new Error('soon');
}
