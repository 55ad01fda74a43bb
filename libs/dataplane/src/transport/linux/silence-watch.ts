// Finds peers that vanished while they owe an answer: a black hole (no RST, no FIN) costs seconds, not a quarter of an hour.
import type { TimerHandle } from '@isthmus/runtime';
import { hasHeardNothing, peerDebt } from './libc.ts';
import type { Loop } from './loop.ts';
import type { LoopStream } from './stream.ts';

/**
 * So long without any answer, while one is owed, and a peer is taken for gone (reliability 79). Not by TCP_USER_TIMEOUT:
 * that ends a peer that merely does not read, too.
 */
export const SILENCE_MS = 5_000;
const LOOK_MS = 1_000;

/** So many are looked at in a row, a tenth of a millisecond; of more, the next ones so much sooner. */
const LOOKS_IN_A_ROW = 64;

/** Looks at each connection once a second: one system call. **Owns** its timer, which runs while there are any. */
export class SilenceWatch {
  readonly #loop: Loop;
  /** With the address that was dialled; accepted ones have none. */
  readonly #streams = new Map<LoopStream, string | undefined>();
  readonly #silenceMs: number;
  #rest: MapIterator<[LoopStream, string | undefined]> | undefined;
  #timer: TimerHandle | undefined;

  constructor(loop: Loop, silenceMs = SILENCE_MS) {
    this.#loop = loop;
    this.#silenceMs = silenceMs;
  }

  /** Until it closes. Where one connection to an address falls silent, those idle for as long are not used for the next try. */
  add(stream: LoopStream, address?: string): void {
    this.#streams.set(stream, address);
    stream.once('close', () => {
      this.#streams.delete(stream);
      if (this.#streams.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    });
    this.#timer ??= this.#loop.setTimer(this.#roundMs, this.#look);
  }

  get #roundMs(): number {
    return Math.min(LOOK_MS, this.#silenceMs);
  }

  readonly #look = (): void => {
    this.#timer = this.#loop.setTimer(this.#roundMs * Math.min(1, LOOKS_IN_A_ROW / this.#streams.size), this.#look);
    const gone = new Set<string>();
    for (let looks = Math.min(LOOKS_IN_A_ROW, this.#streams.size); looks > 0; looks--) {
      const [stream, address] = this.#next() ?? [];
      if (stream === undefined || stream.destroyed || peerDebt(stream.fd, this.#silenceMs) !== 'overdue') continue;
      if (address !== undefined) gone.add(address);
      this.#end(stream);
    }
    if (gone.size === 0) return;
    for (const [stream, address] of this.#streams) {
      if (address !== undefined && gone.has(address) && !stream.destroyed && hasHeardNothing(stream.fd, this.#silenceMs)) this.#end(stream);
    }
  };

  /** Round and round; undefined at the end of each. */
  #next(): [LoopStream, string | undefined] | undefined {
    this.#rest ??= this.#streams.entries();
    const { value, done } = this.#rest.next();
    if (done !== true) return value;
    this.#rest = undefined;
    return undefined;
  }

  #end(stream: LoopStream): void {
    stream.destroy(Object.assign(new Error(`the other end has been silent for ${this.#silenceMs} ms`), { code: 'ETIMEDOUT' }));
  }
}
