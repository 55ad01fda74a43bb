// The streams of a connection by identifier: which are open, which never were, which are closed. RFC 9113 §5.1.
import type { Stream } from './stream.ts';

/** Streams reset here whose late frames are forgiven; the oldest is forgotten first. */
const REMEMBERED = 128;

/** **Bounds** memory beside the open streams: none before the first reset, 512 bytes after. */
export class Streams {
  /** Highest stream that the peer opened, or for a client that it opened itself. */
  lastId = 0;
  readonly #open = new Map<number, Stream>();
  /** A ring of what was reset here. */
  #resets: Int32Array | undefined;
  #resetCount = 0;

  /** How many are open. */
  get count(): number {
    return this.#open.size;
  }

  /** Undefined: it is idle or closed. */
  get(id: number): Stream | undefined {
    return this.#open.get(id);
  }

  /** All that are open now, whatever becomes of them meanwhile. */
  all(): Stream[] {
    return [...this.#open.values()];
  }

  /** All that are open, and no longer are. */
  takeAll(): Stream[] {
    const streams = this.all();
    this.#open.clear();
    return streams;
  }

  add(stream: Stream): void {
    this.#open.set(stream.id, stream);
  }

  /** False: it was not among them. */
  remove(stream: Stream): boolean {
    return this.#open.delete(stream.id);
  }

  /** Nobody has opened this stream yet; a client alone opens streams, odd ones. RFC 9113 §5.1.1. */
  isIdle(id: number): boolean {
    return id > this.lastId || (id & 1) === 0;
  }

  /** It was reset here not long ago, so that the peer may not know and its late frames are no breach. */
  wasReset(id: number): boolean {
    return this.#resets?.includes(id) === true;
  }

  /** It is reset here. */
  noteReset(id: number): void {
    this.#resets ??= new Int32Array(REMEMBERED);
    this.#resets[this.#resetCount++ % REMEMBERED] = id;
  }

  /** The peer closed it, too: from here on its frames are no longer late but wrong. */
  forgetReset(id: number): void {
    const at = this.#resets?.indexOf(id) ?? -1;
    if (at >= 0 && this.#resets !== undefined) this.#resets[at] = 0;
  }
}
