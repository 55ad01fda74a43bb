// Time limits of many requests by one timer: all of one length, so that the oldest is always the first to expire.
import type { Clock, TimerHandle } from '@isthmus/runtime';

/** Something with a time limit; the links are the list's own. */
export interface Limited {
  expiresMonotonicMs: number;
  earlier: Limited | undefined;
  later: Limited | undefined;
  /** The limit is over; it is off the list already. */
  expired(): void;
}

/** A list by age. `add` and `remove` cost a few assignments; the timer is set again only when it fires. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #limitMs: number;
  #oldest: Limited | undefined;
  #newest: Limited | undefined;
  #timer: TimerHandle | undefined;

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  /** Starts the limit of one. */
  add(one: Limited, nowMonotonicMs: number): void {
    one.expiresMonotonicMs = nowMonotonicMs + this.#limitMs;
    one.earlier = this.#newest;
    one.later = undefined;
    if (this.#newest === undefined) this.#oldest = one;
    else this.#newest.later = one;
    this.#newest = one;
    this.#timer ??= this.#clock.setTimer(this.#limitMs, this.#onTimer);
  }

  /** Ends the limit of one; nothing where it is not on the list. */
  remove(one: Limited): void {
    if (one.earlier === undefined && this.#oldest !== one) return;
    if (one.earlier === undefined) this.#oldest = one.later;
    else one.earlier.later = one.later;
    if (one.later === undefined) this.#newest = one.earlier;
    else one.later.earlier = one.earlier;
    one.earlier = undefined;
    one.later = undefined;
  }

  /** Forgets all, and lets go of the timer. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#oldest = undefined;
    this.#newest = undefined;
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (let one = this.#oldest; one !== undefined && one.expiresMonotonicMs <= nowMs; one = this.#oldest) {
      this.remove(one);
      one.expired();
    }
    if (this.#oldest !== undefined) this.#timer ??= this.#clock.setTimer(Math.max(1, this.#oldest.expiresMonotonicMs - nowMs), this.#onTimer);
  };
}
