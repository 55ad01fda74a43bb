// Endpoints that could not be connected to are left out for a while, by this proxy's own evidence.
import type { Random } from '@isthmus/runtime';

export type OutlierOptions = {
  /** Connect failures in a row before an endpoint is ejected. */
  readonly threshold?: number;
  /** The n-th ejection lasts n times this, with jitter. */
  readonly baseMs?: number;
  readonly maxMs?: number;
  readonly nowMs: () => number;
  readonly random: Random;
};

type Evidence = { failures: number; ejections: number; untilMs: number };

/**
 * Counts consecutive connect failures per endpoint and ejects at the third, for 1 s × n (30 s at most), 25 % jitter, so
 * that callers do not come back together. After an ejection a single failure ejects again; a success forgets everything.
 * Only connect failures count: what an application answers is no evidence about its address.
 * It may eject every endpoint: whoever picks goes to the next tier then, and ignores ejections when none is left.
 * Pure but for the clock and the chance passed in. **Source** facts 3, Envoy outlier detection (base × times ejected).
 */
export class Outliers {
  readonly #threshold: number;
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #nowMs: () => number;
  readonly #random: Random;
  readonly #records = new Map<string, Evidence>();

  constructor(options: OutlierOptions) {
    this.#threshold = options.threshold ?? 3;
    this.#baseMs = options.baseMs ?? 1_000;
    this.#maxMs = options.maxMs ?? 30_000;
    this.#nowMs = options.nowMs;
    this.#random = options.random;
  }

  /** Notes a failed connect; true when it ejects the endpoint. */
  failed(endpoint: string): boolean {
    const record = this.#records.get(endpoint) ?? { failures: 0, ejections: 0, untilMs: 0 };
    this.#records.set(endpoint, record);
    if (record.untilMs > this.#nowMs()) return false; // others' attempts already under way
    record.failures += 1;
    if (record.ejections === 0 && record.failures < this.#threshold) return false;
    record.ejections += 1;
    record.failures = 0;
    const lastsMs = Math.min(this.#maxMs, this.#baseMs * record.ejections);
    record.untilMs = this.#nowMs() + lastsMs * (0.75 + this.#random() * 0.25);
    return true;
  }

  succeeded(endpoint: string): void {
    this.#records.delete(endpoint);
  }

  /** For an endpoint that is no more, so that memory follows the snapshot. */
  forget(endpoint: string): void {
    this.#records.delete(endpoint);
  }

  isEjected(endpoint: string): boolean {
    const record = this.#records.get(endpoint);
    return record !== undefined && record.untilMs > this.#nowMs();
  }

  /** Forgets endpoints that are no more, so that memory follows the snapshot. */
  retain(endpoints: ReadonlySet<string>): void {
    for (const id of this.#records.keys()) if (!endpoints.has(id)) this.#records.delete(id);
  }
}
