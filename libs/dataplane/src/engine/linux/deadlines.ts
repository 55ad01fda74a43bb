// Time limits of many connections: looked at in steps, moved by writing a number, so that a byte costs no timer.

/** What has a time limit. */
export interface Limited {
  /** On the loop's clock. May move either way, but sooner only together with `add`. */
  deadlineMs: number;
  readonly closed: boolean;
  onDeadline(): void;
  /** Looked at before its deadline: it has lived for a while. About every five seconds. */
  onReview(): void;
}

const STEP_MS = 100;
/** Looked at no later than this: what has ended is let go of then, however far its deadline was. */
const REVIEW_MS = 5_000;

/** Calls `onDeadline` at most a step late. **Bounds** one entry for each `add`, kept at most five seconds after it closed. */
export class Deadlines<T extends Limited> {
  readonly #steps = new Map<number, T[]>();
  #next: number;

  constructor(nowMs: number) {
    this.#next = Math.floor(nowMs / STEP_MS);
  }

  /** Entries held, those of closed things not yet let go of among them. */
  get size(): number {
    let sum = 0;
    for (const entries of this.#steps.values()) sum += entries.length;
    return sum;
  }

  /** Looks at it again by its deadline. */
  add(limited: T): void {
    const step = Math.max(this.#next, Math.min(Math.floor(limited.deadlineMs / STEP_MS) + 1, this.#next + REVIEW_MS / STEP_MS));
    const entries = this.#steps.get(step);
    if (entries === undefined) this.#steps.set(step, [limited]);
    else entries.push(limited);
  }

  /** To be called every `STEP_MS` or so. */
  run(nowMs: number): void {
    const last = Math.floor(nowMs / STEP_MS);
    for (; this.#next <= last; this.#next++) {
      const entries = this.#steps.get(this.#next);
      if (entries === undefined) continue;
      this.#steps.delete(this.#next);
      for (const limited of entries) {
        if (limited.closed) continue;
        if (limited.deadlineMs <= nowMs) limited.onDeadline();
        else {
          limited.onReview();
          this.add(limited);
        }
      }
    }
  }

  static readonly stepMs = STEP_MS;
}
