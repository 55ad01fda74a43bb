// Time limits of many connections: looked at in steps, moved by writing a number, so that a byte costs no timer.

/** What has a time limit. */
export interface Limited {
  /** On the loop's clock. May move either way, but sooner only together with `add`. */
  deadlineMs: number;
  readonly closed: boolean;
  /** Where it waits, -1 while it does not, and whether for a review. Only `Deadlines` writes these. */
  deadlineStep: number;
  deadlineIndex: number;
  isForReview: boolean;
  onDeadline(): void;
  /** Looked at before its deadline: it has lived for a while. About every four seconds. Whether that took system calls. */
  onReview(): boolean;
}

const STEP_MS = 100;
/** What is due later is reviewed meanwhile, after so many steps and up to so many more: what was opened together is not looked at together. */
const REVIEW_STEPS = 20;
const REVIEW_SPREAD_STEPS = 40;
/** From one to the next: no divisor in common with their number, so all have their turn, and neighbours are far apart. */
const SPREAD_STRIDE = 23;
/** Steps that can be waited for; a power of two. None comes after so many, so a place in the ring stands for one step alone. */
const RING = 64;
/** In the place of a step: waits for a review that is due. */
const IN_REVIEW = -2;
/** Filed anew or reviewed without a system call in a row: next to nothing each, a tenth of a millisecond together. */
const MOVES_IN_A_ROW = 1_024;

/**
 * Calls `onDeadline` at most a step late, and `onReview` for a few at a time. **Bounds** one entry for each that was added
 * and neither removed nor over.
 */
export class Deadlines<T extends Limited> {
  readonly #steps: readonly T[][] = Array.from({ length: RING }, () => []);
  readonly #inReview: T[] = [];
  #next: number;
  #spread = 0;
  #turn = 0;

  constructor(nowMs: number) {
    this.#next = Math.floor(nowMs / STEP_MS);
  }

  /** The step that time has come to: a small integer that moves on ten times a second. */
  get step(): number {
    return this.#next;
  }

  get size(): number {
    let sum = this.#inReview.length;
    for (const entries of this.#steps) sum += entries.length;
    return sum;
  }

  /** Looks at it again by its deadline. */
  add(limited: T): void {
    this.remove(limited);
    const due = Math.floor(limited.deadlineMs / STEP_MS) + 1;
    const soonest = this.#next;
    limited.isForReview = due > soonest + REVIEW_STEPS;
    if (!limited.isForReview) return this.#file(limited, Math.max(soonest, due));
    this.#spread = (this.#spread + SPREAD_STRIDE) % REVIEW_SPREAD_STEPS;
    this.#file(limited, Math.min(due, soonest + REVIEW_STEPS + this.#spread));
  }

  #file(limited: T, step: number): void {
    const entries = this.#at(step);
    limited.deadlineStep = step;
    limited.deadlineIndex = entries.length;
    entries.push(limited);
  }

  /** Lets go of it at once: what is over must not grow old here, where the garbage collector would carry it along. */
  remove(limited: T): void {
    const { deadlineStep, deadlineIndex } = limited;
    if (deadlineStep === -1) return;
    limited.deadlineStep = -1;
    const entries = this.#at(deadlineStep);
    const last = entries.pop();
    if (last === undefined || last === limited) return;
    entries[deadlineIndex] = last;
    last.deadlineIndex = deadlineIndex;
  }

  /**
   * To be called every `STEP_MS` or so; again in a moment where it answers false: then it looked at `most` and others are due.
   * Deadlines that are late by a step are told without that limit; a review can wait.
   */
  run(nowMs: number, most: number): boolean {
    const last = Math.floor(nowMs / STEP_MS);
    let left = most;
    let moves = MOVES_IN_A_ROW;
    for (; this.#next <= last; this.#next++) {
      const entries = this.#at(this.#next);
      for (let limited = entries.at(-1); limited !== undefined; limited = entries.at(-1)) {
        if (this.#next === last && (left <= 0 || moves <= 0)) return false;
        this.remove(limited);
        if (limited.closed) continue;
        if (limited.deadlineMs <= nowMs) {
          left -= 1;
          limited.onDeadline();
          continue;
        }
        moves -= 1;
        // What was filed for a deadline that has moved since has lived for a moment only, and is filed again.
        if (limited.isForReview) this.#file(limited, IN_REVIEW);
        else this.add(limited);
      }
    }
    for (; left > 0 && moves > 0; moves--) {
      // From anywhere among them: where they come faster than they are looked at, none waits for ever.
      const limited = this.#inReview[this.#turn++ % this.#inReview.length];
      if (limited === undefined) return true;
      this.remove(limited);
      if (this.#review(limited, nowMs)) left -= 1;
    }
    return this.#inReview.length === 0;
  }

  /** Whether it took system calls. */
  #review(limited: T, nowMs: number): boolean {
    if (limited.closed) return false;
    if (limited.deadlineMs <= nowMs) {
      limited.onDeadline();
      return true;
    }
    const tookCalls = limited.onReview();
    if (!limited.closed) this.add(limited);
    return tookCalls;
  }

  #at(step: number): T[] {
    return step === IN_REVIEW ? this.#inReview : (this.#steps[step & (RING - 1)] ?? []);
  }

  static readonly stepMs = STEP_MS;
}
