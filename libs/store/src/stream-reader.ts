// Reads a stream one message at a time, with a time limit, and lets the sender wait when nobody reads.
import type { Clock } from '@isthmus/runtime';
import type { Fault, LinkStream } from './link.ts';

const MAX_WAITING = 64;

/** The stream ended; `fault` says how. */
export class StreamEnded extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault.details);
    this.name = 'StreamEnded';
    this.fault = fault;
  }
}

/** One reader of one stream. */
export class StreamReader<Q, R> {
  readonly #stream: LinkStream<Q, R>;
  readonly #clock: Clock;
  readonly #waiting: R[] = [];
  #ended: Fault | undefined;
  #isPaused = false;
  #wake: (() => void) | undefined;

  constructor(stream: LinkStream<Q, R>, clock: Clock, onEnd: () => void) {
    this.#stream = stream;
    this.#clock = clock;
    stream.listen({
      onMessage: (message) => {
        this.#waiting.push(message);
        if (this.#waiting.length >= MAX_WAITING && !this.#isPaused) {
          this.#isPaused = true;
          stream.pause();
        }
        this.#wake?.();
      },
      onEnd: (fault) => {
        this.#ended = fault;
        onEnd();
        this.#wake?.();
      },
    });
  }

  /** The next message, or undefined when none came in `limitMs`. **Throws** StreamEnded, after all that came before the end. */
  async next(limitMs: number): Promise<R | undefined> {
    if (this.#waiting.length === 0 && this.#ended === undefined) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.setTimer(Math.max(0, limitMs), resolve);
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const message = this.#waiting.shift();
    if (message !== undefined) {
      if (this.#isPaused && this.#waiting.length === 0) {
        this.#isPaused = false;
        this.#stream.resume();
      }
      return message;
    }
    if (this.#ended !== undefined) throw new StreamEnded(this.#ended);
    return undefined;
  }

  write(message: Q): void {
    this.#stream.write(message);
  }

  close(): void {
    this.#stream.cancel();
  }
}
