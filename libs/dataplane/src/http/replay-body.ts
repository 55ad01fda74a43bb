// A request body that streams as it comes and can be sent again from its start, as long as it is small.
import { Readable } from 'node:stream';

/**
 * Hands one source stream to one attempt after another. Chunks pass on at once (no waiting for the end, so a slow
 * upload or a conversation is not held up), and are remembered until they exceed `limitBytes`; from then on the body can
 * no longer be sent twice. **Bounds** memory: `limitBytes` plus one stream buffer; the source is paused when the attempt is slow.
 */
export class ReplayBody {
  readonly #source: Readable;
  readonly #limitBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #replayable = true;
  #ended = false;
  #current: Readable | undefined;
  #discarding = false;

  constructor(source: Readable, limitBytes: number) {
    this.#source = source;
    this.#limitBytes = limitBytes;
    source.pause();
    source.on('data', (chunk: Buffer) => this.#onData(chunk));
    source.on('end', () => {
      this.#ended = true;
      this.#current?.push(null);
    });
    source.on('error', (error: Error) => this.#current?.destroy(error));
    source.on('close', () => {
      if (!this.#ended) this.#current?.destroy(new Error('the caller went away before its request was complete'));
    });
    source.pause(); // a 'data' listener alone would start the flow
  }

  /** True while everything read so far is still at hand. */
  get replayable(): boolean {
    return this.#replayable;
  }

  /** The body from its start, for the next attempt; the attempt before loses its stream. */
  open(): Readable {
    this.detach();
    const body = new Readable({
      read: () => {
        if (this.#current === body && !this.#ended) this.#source.resume();
      },
      destroy: (error, done) => {
        if (this.#current === body) this.#current = undefined;
        if (!this.#discarding) this.#source.pause();
        done(error);
      },
    });
    body.on('error', () => undefined); // an attempt that fails destroys its own copy
    this.#current = body;
    for (const chunk of this.#chunks) body.push(chunk);
    if (this.#ended) body.push(null);
    return body;
  }

  /** Takes the stream away from the present attempt and stops reading. */
  detach(): void {
    const body = this.#current;
    this.#current = undefined;
    this.#source.pause();
    body?.destroy();
  }

  /** Reads the rest to nowhere, so that the caller's connection can be used again after an early answer. */
  discard(): void {
    this.#discarding = true;
    this.#chunks = [];
    this.#replayable = false;
    this.#current = undefined;
    this.#source.resume();
  }

  #onData(chunk: Buffer): void {
    if (this.#discarding) return;
    if (this.#replayable) {
      this.#bytes += chunk.length;
      if (this.#bytes > this.#limitBytes) {
        this.#replayable = false;
        this.#chunks = [];
      } else this.#chunks.push(chunk);
    }
    if (this.#current !== undefined && !this.#current.push(chunk)) this.#source.pause();
  }
}
