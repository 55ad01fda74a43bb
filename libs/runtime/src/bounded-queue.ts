// A queue with a limit, and with an answer to what happens at it.

/** `drop-oldest` makes room by forgetting the oldest; `refuse` makes `push` answer false. */
export type WhenFull = 'drop-oldest' | 'refuse';

/** Items in order for one consumer, who iterates; at most `limit` wait. */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  readonly #limit: number;
  readonly #whenFull: WhenFull;
  #wake: (() => void) | undefined;
  #closed = false;
  #dropped = 0;

  constructor(limit: number, whenFull: WhenFull) {
    this.#limit = limit;
    this.#whenFull = whenFull;
  }

  get size(): number {
    return this.#items.length;
  }

  /** How many were forgotten or refused. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False when the item was refused: the queue is full (or closed). */
  push(item: T): boolean {
    if (this.#closed) return false;
    if (this.#items.length >= this.#limit) {
      this.#dropped += 1;
      if (this.#whenFull === 'refuse') return false;
      this.#items.shift();
    }
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** No more comes; what waits is still handed out. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
        continue;
      }
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
