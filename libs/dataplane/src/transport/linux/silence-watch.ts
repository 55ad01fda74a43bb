// Finds peers that vanished while they owe an answer: a black hole (no RST, no FIN) costs seconds, not a quarter of an hour.
import type { TimerHandle } from '@isthmus/runtime';
import { hasFallenSilent } from './libc.ts';
import type { Loop } from './loop.ts';
import type { LoopStream } from './stream.ts';

/**
 * So long without any answer, while one is owed, and a peer is taken for gone (reliability 79). Not by TCP_USER_TIMEOUT:
 * that ends a peer that merely does not read, too.
 */
export const SILENCE_MS = 10_000;
const LOOK_MS = 2_500;

/** Looks at each connection every few seconds: one system call. **Owns** its timer, which runs while there are any. */
export class SilenceWatch {
  readonly #loop: Loop;
  readonly #streams = new Set<LoopStream>();
  readonly #silenceMs: number;
  #timer: TimerHandle | undefined;

  constructor(loop: Loop, silenceMs = SILENCE_MS) {
    this.#loop = loop;
    this.#silenceMs = silenceMs;
  }

  /** Until it closes. */
  add(stream: LoopStream): void {
    this.#streams.add(stream);
    stream.once('close', () => {
      this.#streams.delete(stream);
      if (this.#streams.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    });
    this.#timer ??= this.#loop.setTimer(Math.min(LOOK_MS, this.#silenceMs), this.#look);
  }

  readonly #look = (): void => {
    this.#timer = this.#loop.setTimer(Math.min(LOOK_MS, this.#silenceMs), this.#look);
    for (const stream of this.#streams) {
      if (!stream.destroyed && hasFallenSilent(stream.fd, this.#silenceMs)) stream.destroy(Object.assign(new Error(`the other end has been silent for ${this.#silenceMs} ms`), { code: 'ETIMEDOUT' }));
    }
  };
}
