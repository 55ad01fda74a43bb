// Time limits of many connections: looked at in steps, moved by writing a number, so that a byte costs no timer.

/** What has a time limit. */
export interface Limited {
  /** On the loop's clock. May move either way, but sooner only together with `add`. */
  deadlineMs: number;
  readonly closed: boolean;
  /** Where it waits; -1 while it does not. Only `Deadlines` writes these. */
  deadlineStep: number;
  deadlineIndex: number;
  onDeadline(): void;
  /** Looked at before its deadline: it has lived for a while. About every five seconds. */
  onReview(): void;
}

const STEP_MS = 100;
/** Reviews come after so many steps, spread out: what was opened together is not looked at all at once. */
const REVIEW_STEPS = 40;
const REVIEW_SPREAD_STEPS = 20;
/** Steps that can be waited for; a power of two. None comes after so many, so a place in the ring stands for one step alone. */
const RING = 64;

/** Calls `onDeadline` at most a step late. **Bounds** one entry for each that was added and neither removed nor over. */
export class Deadlines<T extends Limited> {
  readonly #steps: readonly T[][] = Array.from({ length: RING }, () => []);
  #next: number;
  #spread = 0;

  constructor(nowMs: number) {
    this.#next = Math.floor(nowMs / STEP_MS);
  }

  get size(): number {
    let sum = 0;
    for (const entries of this.#steps) sum += entries.length;
    return sum;
  }

  /** Looks at it again by its deadline. */
  add(limited: T): void {
    this.remove(limited);
    const due = Math.floor(limited.deadlineMs / STEP_MS) + 1;
    const soonest = this.#next;
    let step = Math.max(soonest, due);
    if (step > soonest + REVIEW_STEPS) {
      this.#spread = (this.#spread + 1) % REVIEW_SPREAD_STEPS;
      step = Math.min(step, soonest + REVIEW_STEPS + this.#spread);
    }
    const entries = this.#at(step);
    limited.deadlineStep = step;
    limited.deadlineIndex = entries.length;
    entries.push(limited);
  }

  /** Lets go of it at once: what is over must not grow old here, where the garbage collector would carry it along. */
  remove(limited: T): void {
    const { deadlineStep, deadlineIndex } = limited;
    if (deadlineStep < 0) return;
    limited.deadlineStep = -1;
    const entries = this.#at(deadlineStep);
    const last = entries.pop();
    if (last === undefined || last === limited) return;
    entries[deadlineIndex] = last;
    last.deadlineIndex = deadlineIndex;
  }

  /**
   * To be called every `STEP_MS` or so; again in a moment where it answers false: then it looked at `most` and others are due.
   * What is late by a step is looked at without that limit.
   */
  run(nowMs: number, most: number): boolean {
    const last = Math.floor(nowMs / STEP_MS);
    let left = most;
    for (; this.#next <= last; this.#next++) {
      const entries = this.#at(this.#next);
      for (let limited = entries.pop(); limited !== undefined; limited = entries.pop()) {
        limited.deadlineStep = -1;
        this.#look(limited, nowMs);
        left -= 1;
        if (left <= 0 && this.#next === last && entries.length > 0) return false;
      }
    }
    return true;
  }

  #at(step: number): T[] {
    return this.#steps[step & (RING - 1)] ?? [];
  }

  #look(limited: T, nowMs: number): void {
    if (limited.closed) return;
    if (limited.deadlineMs <= nowMs) return limited.onDeadline();
    limited.onReview();
    if (!limited.closed) this.add(limited);
  }

  static readonly stepMs = STEP_MS;
}
