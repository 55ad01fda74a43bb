// Keeping a certificate fresh: renewed at half its life with jitter, the old one kept through every failure.
import { IsthmusError, messageOf } from '@isthmus/model';
import type { SvidSource, X509Svid } from '@isthmus/pki';
import { type Backoff, backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

/** How far in the past everything signed here begins, against clocks that are behind (reliability row 33). */
export const BACKDATE_MS = 60_000;
const MIN_DELAY_MS = 500;
const MAX_TOLD_MS = 60_000;
const REQUEST_TIMEOUT_MS = 15_000;
/** How long after a machine's sleep it may go unnoticed that renewal is due. */
const WALL_CHECK_MS = 10_000;

/** What renewal needs to know of a certificate. */
export type Validity = { readonly notBeforeMs: number; readonly expiresAtMs: number };

/**
 * How long to wait before renewing: to half the life, give or take 10 % (`random` from 0 to 1 decides), so that many
 * holders do not come at once and at least 40 % of a life is left for an issuer that is away. What is past its half
 * already waits a random tenth of its rest: the soonest to expire come first after an outage (reliability row 40).
 * Source: SPIRE rotates at half life (facts 2).
 */
export function renewalDelayMs(validity: Validity, nowMs: number, random: number): number {
  const beginMs = Math.min(validity.notBeforeMs + BACKDATE_MS, validity.expiresAtMs);
  const lifeMs = validity.expiresAtMs - beginMs;
  const dueMs = beginMs + lifeMs * (0.5 + (random * 2 - 1) * 0.1);
  if (dueMs > nowMs) return Math.max(MIN_DELAY_MS, dueMs - nowMs);
  const restMs = Math.max(0, validity.expiresAtMs - nowMs);
  return Math.max(MIN_DELAY_MS, (restMs / 10) * random);
}

/** How long an issuer that is busy wants to be left alone, up to a tenth more; undefined where it did not say. */
function toldDelayMs(error: unknown, random: number): number | undefined {
  const told = error instanceof IsthmusError ? error.facts['retryAfterMs'] : undefined;
  return typeof told === 'number' ? Math.min(MAX_TOLD_MS, Math.max(MIN_DELAY_MS, told)) * (1 + random / 10) : undefined;
}

export type RenewalOptions<T extends Validity> = {
  /** Gets a new one, already checked; a rejection is retried with backoff. The signal ends it at its limit or on close. */
  readonly request: (signal: AbortSignal) => Promise<T>;
  /** What to begin with; without it the first request is made at once. */
  readonly initial?: T | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Limit of one request. 15 s. */
  readonly requestTimeoutMs?: number;
  /** Told of every failed request. */
  readonly onError?: ((error: unknown) => void) | undefined;
};
export type KeepFreshOptions = RenewalOptions<X509Svid>;

/** A source that renews itself; `close` stops renewing and leaves the last one readable. */
export interface Fresh<T extends Validity> {
  current(): T | undefined;
  onChange(fn: (value: T) => void): () => void;
  /** Renews now, whatever the timer says, or joins the request under way; resolves when it was answered or failed. */
  renewNow(): Promise<void>;
  close(): void;
}
export type FreshSvid = Fresh<X509Svid> & SvidSource;

/** Keeps an X.509-SVID fresh; see `Fresh`. */
export function keepFresh(options: KeepFreshOptions): FreshSvid {
  return openRenewal(options);
}

/** The same for anything that has a validity, such as a cluster's intermediate. */
export function openRenewal<T extends Validity>(options: RenewalOptions<T>): Fresh<T> {
  const { clock, random, log } = options;
  const listeners = new Set<(value: T) => void>();
  const closed = new AbortController();
  let current = options.initial;
  let timer: { cancel(): void } | undefined;
  let underWay: Promise<void> | undefined;
  let retry = backoffFor(current);

  const renewAfter = (delayMs: number): void => renewAt({ wallMs: clock.nowMs() + delayMs, monotonicMs: clock.monotonicMs() + delayMs });
  /**
   * By whichever clock is there first: timers stand still while a machine sleeps, its wall clock does not, and a wall
   * clock that was set back must not keep a certificate from being renewed (reliability row 91).
   */
  function renewAt(due: { readonly wallMs: number; readonly monotonicMs: number }): void {
    timer?.cancel();
    if (closed.signal.aborted) return;
    const restMs = Math.min(due.wallMs - clock.nowMs(), due.monotonicMs - clock.monotonicMs());
    timer = clock.setTimer(Math.max(0, Math.min(restMs, WALL_CHECK_MS)), () => (restMs <= WALL_CHECK_MS ? void renewNow() : renewAt(due)));
  }
  const renewNow = (): Promise<void> => {
    underWay ??= renew().finally(() => (underWay = undefined));
    return underWay;
  };
  async function renew(): Promise<void> {
    timer?.cancel();
    if (closed.signal.aborted) return;
    try {
      const next = await limited(options.request, options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS);
      if (closed.signal.aborted) return;
      current = next;
      retry = backoffFor(next);
      renewAfter(renewalDelayMs(next, clock.nowMs(), random()));
      for (const listener of listeners) listener(next);
    } catch (error) {
      if (closed.signal.aborted) return;
      renewAfter(toldDelayMs(error, random()) ?? Math.max(MIN_DELAY_MS, retry.nextMs()));
      tellFailure(error);
    }
  }
  async function limited(request: (signal: AbortSignal) => Promise<T>, limitMs: number): Promise<T> {
    const limit = new AbortController();
    const onClose = (): void => limit.abort(new Error('closed'));
    closed.signal.addEventListener('abort', onClose);
    const limitTimer = clock.setTimer(limitMs, () => limit.abort(new Error(`no answer in ${limitMs} ms`)));
    const aborted = new Promise<never>((_, reject) => {
      limit.signal.addEventListener('abort', () => reject(limit.signal.reason as Error), { once: true });
    });
    try {
      return await Promise.race([request(limit.signal), aborted]);
    } finally {
      limitTimer.cancel();
      closed.signal.removeEventListener('abort', onClose);
    }
  }
  function tellFailure(error: unknown): void {
    const restMs = current === undefined ? 0 : current.expiresAtMs - clock.nowMs();
    const lifeMs = current === undefined ? 0 : current.expiresAtMs - current.notBeforeMs;
    const fields = { error: messageOf(error), restMs: Math.round(restMs) };
    // Below a quarter of its life the outage is no longer the issuer's business alone: somebody must act.
    if (restMs < lifeMs / 4) log.error('renewal failed and little time is left', fields);
    else log.warn('renewal failed, the old one is kept', fields);
    options.onError?.(error);
  }
  function backoffFor(value: T | undefined): Backoff {
    const lifeMs = value === undefined ? Infinity : value.expiresAtMs - value.notBeforeMs - BACKDATE_MS;
    return backoff({ baseMs: 500, maxMs: Math.min(60_000, Math.max(1_000, lifeMs / 20)), random });
  }

  if (current === undefined) void renewNow();
  else renewAfter(renewalDelayMs(current, clock.nowMs(), random()));
  return {
    current: () => current,
    onChange(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    renewNow,
    close() {
      timer?.cancel();
      closed.abort();
      listeners.clear();
    },
  };
}
