// A connection's idle limit, by a timer that is moved only when it fires: a byte costs it no more than a note of the time.
import type { TimerHandle } from '@isthmus/runtime';
import type { Loop } from './loop.ts';

/** **Owns** its timer. */
export class IdleLimit {
  /** When bytes moved last, on the loop's clock; the connection's to set. */
  movedMs = 0;
  readonly #loop: Loop;
  readonly #onIdle: () => void;
  #limitMs = 0;
  #timer: TimerHandle | undefined;

  /** `onIdle` is called once after the limit, and not again before `set`. */
  constructor(loop: Loop, onIdle: () => void) {
    this.#loop = loop;
    this.#onIdle = onIdle;
  }

  /** From now on; 0 takes the limit back. */
  set(limitMs: number): void {
    this.stop();
    this.#limitMs = limitMs;
    if (limitMs === 0) return;
    this.movedMs = performance.now();
    this.#arm(limitMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(inMs: number): void {
    this.#timer = this.#loop.setTimer(inMs, () => {
      const restMs = this.movedMs + this.#limitMs - performance.now();
      if (restMs > 1) return this.#arm(restMs);
      this.#timer = undefined;
      this.#onIdle();
    });
  }
}
