// Counts what costs the other end next to nothing, and says when there is too much of it.
import type { Clock } from '@isthmus/runtime';

/** Length of a counting window. */
const WINDOW_MS = 10_000;
/** Resets in a window that are always fine, and past which they may not be more than half of what was opened. */
const FREE_RESETS = 200;
/** Frames without a purpose of their own in a window, and how many more each useful frame allows. */
const FREE_CONTROL = 1000;
const CONTROL_PER_FRAME = 8;
/** DATA frames that carry nothing, and how many useful ones make up for one. */
const FREE_EMPTY = 100;

/**
 * One connection's counters. The clock is read only when an allowance is used up, so that an honest peer costs increments.
 * **Source** CVE-2023-44487 (resets by the peer), CVE-2025-8671 (resets the peer provokes), CVE-2019-9512 to -9518.
 */
export class FloodGuard {
  readonly #clock: Clock;
  #startMs: number;
  #opened = 0;
  #useful = 0;
  #resets = 0;
  #control = 0;
  #empty = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
  }

  /** A stream was opened by the peer. */
  opened(): void {
    this.#opened++;
    this.#useful++;
  }

  /** DATA went either way, and allows for the frames that steer it. */
  useful(): void {
    this.#useful++;
  }

  /** A stream ended by a reset before its time, whoever sent it. True: too many. */
  reset(): boolean {
    return ++this.#resets > FREE_RESETS && this.#resets * 2 > this.#opened && !this.#renews();
  }

  /** SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM or an unknown frame came. True: too many. */
  control(): boolean {
    return ++this.#control > FREE_CONTROL + this.#useful * CONTROL_PER_FRAME && !this.#renews();
  }

  /** DATA without content and without END_STREAM came. True: too many. */
  empty(): boolean {
    return ++this.#empty > FREE_EMPTY + this.#useful && !this.#renews();
  }

  /** To be called every few seconds, so that a long quiet life allows no burst. */
  tick(): void {
    this.#renews();
  }

  /** Begins a new window, if the last is over. */
  #renews(): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#startMs < WINDOW_MS) return false;
    this.#startMs = nowMs;
    this.#opened = 0;
    this.#useful = 0;
    this.#resets = 0;
    this.#control = 0;
    this.#empty = 0;
    return true;
  }
}
