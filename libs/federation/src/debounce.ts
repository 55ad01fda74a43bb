// Waits a moment before acting on changes: short for the first, longer while they keep coming.
import type { Clock } from '@isthmus/runtime';

const FIRST_MS = 5;
const LONGEST_MS = 200;
/** Calm for so long, and the next change is a first one again. */
const CALM_MS = 500;

/** Runs at most one action per wait; waits 5 ms after calm, twice as long each time in a storm, never over 200 ms. */
export class Debounce {
  readonly #clock: Clock;
  readonly #run: () => void;
  #waitMs = FIRST_MS;
  #lastRunMonotonicMs = Number.NEGATIVE_INFINITY;
  #timer: { cancel(): void } | undefined;
  #isClosed = false;

  constructor(options: { readonly clock: Clock; readonly run: () => void }) {
    this.#clock = options.clock;
    this.#run = options.run;
  }

  trigger(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    const sinceLastMs = this.#clock.monotonicMs() - this.#lastRunMonotonicMs;
    this.#waitMs = sinceLastMs >= CALM_MS ? FIRST_MS : Math.min(LONGEST_MS, this.#waitMs * 2);
    this.#timer = this.#clock.setTimer(this.#waitMs, () => {
      this.#timer = undefined;
      this.#lastRunMonotonicMs = this.#clock.monotonicMs();
      this.#run();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
