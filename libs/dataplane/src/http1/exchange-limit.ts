// Time limits of a client's exchanges, by one coarse timer for the connection: a request costs them nothing.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { HttpLimits } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';

/** Whom the limits are for. */
export interface ExchangeLimited {
  readonly stream: Pick<ByteStream, 'bytesRead' | 'bytesWritten'>;
  /** Exchanges under way. */
  readonly active: number;
  /** Some of a response's head has come and some has not. */
  readonly isInHead: boolean;
  /** A head did not end, or no byte moved either way, within its limit. */
  timedOut(detail: string): void;
}

/** **Owns** its timer, which runs while there are exchanges and once more after the last. */
export class ExchangeLimit {
  readonly #of: ExchangeLimited;
  readonly #clock: Clock;
  readonly #limits: HttpLimits;
  #timer: TimerHandle | undefined;
  #headAtMs = 0;
  #movedBytes = -1;
  #movedAtMs = 0;

  constructor(of: ExchangeLimited, clock: Clock, limits: HttpLimits) {
    this.#of = of;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** An exchange begins. */
  watch(): void {
    if (this.#timer === undefined) this.#arm();
  }

  /** A response's head has begun and has not come whole. */
  headBegan(): void {
    this.#headAtMs = this.#clock.monotonicMs();
  }

  /** The connection is gone. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = this.#clock.setTimer(Math.min(this.#limits.headMs, this.#limits.idleMs), this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const { stream, active, isInHead } = this.#of;
    if (active === 0) {
      this.#movedBytes = -1;
      return; // armed again by the next exchange
    }
    const nowMs = this.#clock.monotonicMs();
    if (isInHead && nowMs - this.#headAtMs >= this.#limits.headMs) return this.#of.timedOut('the response head did not come whole within the time limit');
    const movedBytes = stream.bytesRead + stream.bytesWritten;
    if (movedBytes !== this.#movedBytes) {
      this.#movedBytes = movedBytes;
      this.#movedAtMs = nowMs;
    } else if (nowMs - this.#movedAtMs >= this.#limits.idleMs) return this.#of.timedOut('no byte moved within the idle limit');
    this.#arm();
  };
}
