// The end of the log: one line at a time into a stream, never waiting for it and never falling with it.
import type { Writable } from 'node:stream';

/** Bytes that may wait in the stream; beyond them lines are dropped and counted (reliability 82). */
const MAX_WAITING_BYTES = 1024 * 1024;

export type SinkOptions = {
  readonly stream: Writable;
  /** Makes the line that says how many were lost. */
  readonly lostLine: (lines: number) => string;
};

/**
 * Writes lines to a stream that may block, fill up or break. Lines that cannot go out are counted; the count is written
 * as soon as one can. A full disk is tried again with the next line; a reader that went away (EPIPE) is not.
 */
export class LineSink {
  readonly #stream: Writable;
  readonly #lostLine: (lines: number) => string;
  #lost = 0;
  #gone = false;

  constructor({ stream, lostLine }: SinkOptions) {
    this.#stream = stream;
    this.#lostLine = lostLine;
    stream.on('error', () => {
      if (stream.destroyed) this.#gone = true;
    });
  }

  /** Lines lost and not yet told of. */
  get lost(): number {
    return this.#lost;
  }

  write(line: string): void {
    if (this.#gone) return;
    if (this.#stream.writableLength > MAX_WAITING_BYTES) {
      this.#lost += 1;
      return;
    }
    this.#tellLost();
    this.#push(line, 1);
  }

  /** Waits until what was taken is out, at most `limitMs`. */
  async close(limitMs: number): Promise<void> {
    if (this.#gone) return;
    if (this.#stream.writableLength <= MAX_WAITING_BYTES) this.#tellLost();
    if (this.#stream.writableLength === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const limit = setTimeout(resolve, limitMs);
    this.#stream.write('', () => resolve());
    await promise;
    clearTimeout(limit);
  }

  #tellLost(): void {
    const lost = this.#lost;
    if (lost === 0) return;
    this.#lost = 0;
    this.#push(this.#lostLine(lost), lost);
  }

  /** Hands a line on; when it fails, `worth` lines count as lost. */
  #push(line: string, worth: number): void {
    this.#stream.write(line, (error) => {
      if (error === null || error === undefined) return;
      this.#lost += worth;
      if ('code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED')) this.#gone = true;
    });
  }
}
