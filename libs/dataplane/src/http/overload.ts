// Sheds load before the heap is full: first connections are not kept, then requests are refused (reliability 70).
import { getHeapStatistics } from 'node:v8';
import type { Clock } from '@isthmus/runtime';

/** `busy`: connections close after their answer. `full`: requests are refused with 503. */
export type Load = 'fine' | 'busy' | 'full';

export type OverloadOptions = {
  readonly clock: Clock;
  /** Requests at once over all listeners that share this guard. */
  readonly requests: number;
  /** Share of the heap limit in use; for tests. */
  readonly heapRatio?: () => number;
};

const LOOK_MS = 250;
/** Source: Envoy's overload manager, as the reliability design quotes it. */
const BUSY_RATIO = 0.92;
const FULL_RATIO = 0.95;

/** Looks at the heap at most four times a second, and only when somebody asks. */
export class Overload {
  readonly #options: OverloadOptions;
  readonly #heapRatio: () => number;
  #lookedMonotonicMs = Number.NEGATIVE_INFINITY;
  #heap: Load = 'fine';

  constructor(options: OverloadOptions) {
    this.#options = options;
    this.#heapRatio = options.heapRatio ?? heapRatio;
  }

  /** `active`: requests under way. */
  load(active: number): Load {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#lookedMonotonicMs >= LOOK_MS) {
      this.#lookedMonotonicMs = nowMs;
      const ratio = this.#heapRatio();
      this.#heap = ratio >= FULL_RATIO ? 'full' : ratio >= BUSY_RATIO ? 'busy' : 'fine';
    }
    return active >= this.#options.requests ? 'full' : this.#heap;
  }
}

function heapRatio(): number {
  const { used_heap_size: usedBytes, heap_size_limit: limitBytes } = getHeapStatistics();
  return usedBytes / limitBytes;
}
