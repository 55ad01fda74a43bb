// Timers of one loop: a binary heap by due time, cancelled ones dropped when they come up.
import type { TimerHandle } from '@isthmus/runtime';

class Timer implements TimerHandle {
  readonly dueMs: number;
  fn: (() => void) | undefined;
  readonly #heap: { cancelled: number };

  constructor(dueMs: number, fn: () => void, heap: { cancelled: number }) {
    this.dueMs = dueMs;
    this.fn = fn;
    this.#heap = heap;
  }

  cancel(): void {
    if (this.fn === undefined) return;
    this.fn = undefined;
    this.#heap.cancelled += 1;
  }
}

/** **Bounds** memory: rebuilt once more than half of it is cancelled timers. */
export class TimerHeap {
  #heap: Timer[] = [];
  readonly #count = { cancelled: 0 };

  add(dueMs: number, fn: () => void): TimerHandle {
    const timer = new Timer(dueMs, fn, this.#count);
    if (this.#count.cancelled > 64 && this.#count.cancelled * 2 > this.#heap.length) this.#sweep();
    this.#heap.push(timer);
    this.#up(this.#heap.length - 1);
    return timer;
  }

  /** When the next one is due; undefined when there is none. */
  nextMs(): number | undefined {
    let top = this.#heap[0];
    while (top !== undefined && top.fn === undefined) {
      this.#pop();
      this.#count.cancelled -= 1;
      top = this.#heap[0];
    }
    return top?.dueMs;
  }

  /** Calls what is due by `nowMs`. */
  run(nowMs: number, onError: (error: unknown) => void): void {
    for (let next = this.nextMs(); next !== undefined && next <= nowMs; next = this.nextMs()) {
      const timer = this.#pop();
      const fn = timer?.fn;
      if (timer === undefined || fn === undefined) continue;
      timer.fn = undefined; // a cancel from now on counts for nothing
      try {
        fn();
      } catch (error) {
        onError(error);
      }
    }
  }

  get size(): number {
    return this.#heap.length;
  }

  #sweep(): void {
    const live = this.#heap.filter((t) => t.fn !== undefined);
    this.#heap = [];
    this.#count.cancelled = 0;
    for (const timer of live) {
      this.#heap.push(timer);
      this.#up(this.#heap.length - 1);
    }
  }

  #pop(): Timer | undefined {
    const top = this.#heap[0];
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#down(0);
    }
    return top;
  }

  #up(at: number): void {
    const heap = this.#heap;
    const timer = heap[at];
    if (timer === undefined) return;
    let i = at;
    while (i > 0) {
      const above = (i - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.dueMs <= timer.dueMs) break;
      heap[i] = parent;
      i = above;
    }
    heap[i] = timer;
  }

  #down(at: number): void {
    const heap = this.#heap;
    const timer = heap[at];
    if (timer === undefined) return;
    let i = at;
    for (;;) {
      let below = 2 * i + 1;
      let child = heap[below];
      if (child === undefined) break;
      const right = heap[below + 1];
      if (right !== undefined && right.dueMs < child.dueMs) {
        below += 1;
        child = right;
      }
      if (child.dueMs >= timer.dueMs) break;
      heap[i] = child;
      i = below;
    }
    heap[i] = timer;
  }
}
