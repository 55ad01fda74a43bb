// Waits a moment before acting on changes, and longer only while they come faster than they can be acted on.
import type { Clock } from '@isthmus/runtime';

const SHORTEST_MS = 5;
const LONGEST_MS = 200;
/** More changes than this within one wait are a storm: the next wait is twice as long. */
const STORM_CHANGES = 3;

/**
 * Runs at most one action per wait. A change alone, or a few, waits 5 ms; while more than three come within a wait it
 * doubles, up to 200 ms, and halves again as they thin out. So single changes stay quick and a storm is merged (reliability 29).
 */
export class Debounce {
  readonly #clock: Clock;
  readonly #run: () => void;
  #waitMs = SHORTEST_MS;
  #changes = 0;
  #lastRunMonotonicMs = 0;
  #timer: { cancel(): void } | undefined;
  #isClosed = false;

  constructor(options: { readonly clock: Clock; readonly run: () => void }) {
    this.#clock = options.clock;
    this.#run = options.run;
  }

  trigger(): void {
    if (this.#isClosed) return;
    this.#changes += 1;
    if (this.#timer !== undefined) return;
    if (this.#clock.monotonicMs() - this.#lastRunMonotonicMs > LONGEST_MS) this.#waitMs = SHORTEST_MS;
    this.#timer = this.#clock.setTimer(this.#waitMs, () => {
      this.#timer = undefined;
      this.#lastRunMonotonicMs = this.#clock.monotonicMs();
      this.#waitMs = this.#changes > STORM_CHANGES ? Math.min(LONGEST_MS, this.#waitMs * 2) : Math.max(SHORTEST_MS, this.#waitMs / 2);
      this.#changes = 0;
      this.#run();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
