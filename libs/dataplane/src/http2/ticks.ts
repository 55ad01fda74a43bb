// Time as a connection counts it: in ticks of a few seconds at most. What moves notes a number, and no clock is read.
import type { HttpLimits } from '../http/exchange.ts';

/** How many ticks have passed, and how many are too many. Each limit is waited out in full: up to a tick longer, never shorter. */
export class Ticks {
  /** Counts up from 0. */
  now = 0;
  /** Length of a tick: half of the shortest limit at most, so that none is overrun by much. */
  readonly tickMs: number;
  readonly #headTicks: number;
  readonly #idleTicks: number;

  constructor(limits: Pick<HttpLimits, 'headMs' | 'keepAliveMs' | 'idleMs'>) {
    this.tickMs = Math.max(10, Math.min(5000, Math.min(limits.headMs, limits.keepAliveMs, limits.idleMs) / 2));
    this.#headTicks = Math.ceil(limits.headMs / this.tickMs) + 1;
    this.#idleTicks = Math.ceil(limits.idleMs / this.tickMs) + 1;
  }

  /** Milliseconds, about, since the tick `then`. */
  msSince(then: number): number {
    return (this.now - then) * this.tickMs;
  }

  /** What began at `then` and has to come whole took longer than a head may (`headMs`). */
  isLate(then: number): boolean {
    return this.now - then >= this.#headTicks;
  }

  /** What last moved at `then` has stood still for longer than a body may (`idleMs`). */
  isIdle(then: number): boolean {
    return this.now - then >= this.#idleTicks;
  }
}
