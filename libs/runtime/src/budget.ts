// Retries as a share of requests, so that retries can never multiply an outage.
import type { Clock } from './clock.ts';

export type RetryBudgetOptions = {
  /** Retries allowed per request of the window, such as 0.2. */
  readonly ratio: number;
  /** Retries a second allowed however few requests there are. */
  readonly minPerSecond: number;
  readonly windowMs: number;
  readonly clock: Pick<Clock, 'monotonicMs'>;
};

const SLICES = 10;

/** Counts requests and retries over a sliding window of ten slices. Source: Linkerd's retry budgets (facts 4). */
export class RetryBudget {
  readonly #options: RetryBudgetOptions;
  readonly #requests = new Float64Array(SLICES);
  readonly #retries = new Float64Array(SLICES);
  #slice = 0;
  #sliceStartMs: number;

  constructor(options: RetryBudgetOptions) {
    this.#options = options;
    this.#sliceStartMs = options.clock.monotonicMs();
  }

  /** To be called once a request. */
  deposit(): void {
    this.#turn();
    this.#requests[this.#slice] = (this.#requests[this.#slice] ?? 0) + 1;
  }

  /** Whether one more retry is within the budget; it is then taken. */
  withdraw(): boolean {
    this.#turn();
    const { ratio, minPerSecond, windowMs } = this.#options;
    const allowed = sum(this.#requests) * ratio + (minPerSecond * windowMs) / 1_000;
    if (sum(this.#retries) + 1 > allowed) return false;
    this.#retries[this.#slice] = (this.#retries[this.#slice] ?? 0) + 1;
    return true;
  }

  #turn(): void {
    const sliceMs = this.#options.windowMs / SLICES;
    const nowMs = this.#options.clock.monotonicMs();
    let steps = Math.min(SLICES, Math.floor((nowMs - this.#sliceStartMs) / sliceMs));
    if (steps > 0) this.#sliceStartMs = steps === SLICES ? nowMs : this.#sliceStartMs + steps * sliceMs;
    for (; steps > 0; steps--) {
      this.#slice = (this.#slice + 1) % SLICES;
      this.#requests[this.#slice] = 0;
      this.#retries[this.#slice] = 0;
    }
  }
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
