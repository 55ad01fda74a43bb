// A server's time limit, one at a time for a connection, by one timer that is seldom set: a request costs it an assignment.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { ByteStream } from '../transport/transport.ts';

/** Whom a limit is for. */
export interface TimeLimited {
  readonly stream: ByteStream;
  /** The limit that was set is over. */
  timedOut(): void;
  /** No limit was set, and no byte moved either way for the idle time. */
  idled(): void;
}

const UNSET = Number.POSITIVE_INFINITY;

/** **Owns** its timer, which runs on when a limit is moved further away, and looks again when it fires. */
export class TimeLimit {
  readonly #of: TimeLimited;
  readonly #clock: Clock;
  readonly #idleMs: number;
  #timer: TimerHandle | undefined;
  #timerAtMs = UNSET;
  #deadlineMs = UNSET;
  #movedBytes = -1;

  constructor(of: TimeLimited, clock: Clock, idleMs: number) {
    this.#of = of;
    this.#clock = clock;
    this.#idleMs = idleMs;
  }

  get isSet(): boolean {
    return this.#deadlineMs !== UNSET;
  }

  /** From now, in the place of the one before. */
  set(inMs: number): void {
    this.#deadlineMs = this.#clock.monotonicMs() + inMs;
    if (this.#timer !== undefined && this.#timerAtMs <= this.#deadlineMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = this.#deadlineMs;
    this.#timer = this.#clock.setTimer(inMs, this.#onTimer);
  }

  /** Only the idle limit counts from here on. */
  clear(): void {
    this.#deadlineMs = UNSET;
  }

  /** The connection is gone. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const { stream } = this.#of;
    if (stream.destroyed) return;
    const nowMs = this.#clock.monotonicMs();
    if (this.isSet && this.#deadlineMs <= nowMs) {
      this.#deadlineMs = UNSET;
      return this.#of.timedOut();
    }
    const inMs = this.isSet ? this.#deadlineMs - nowMs : this.#idleMs;
    if (!this.isSet) {
      const moved = stream.bytesRead + stream.bytesWritten;
      if (moved === this.#movedBytes) return this.#of.idled();
      this.#movedBytes = moved;
    }
    this.#timerAtMs = nowMs + inMs;
    this.#timer = this.#clock.setTimer(inMs, this.#onTimer);
  };
}
