// Bytes that wait, in the chunks they came in; small ones are joined, so that many tiny chunks cost no more than their bytes.
import { kept } from '../transport/lent.ts';

/** Chunks shorter than this are copied together: a chunk's own object takes about as much. */
const JOINED_BYTES = 256;
const BLOCK_BYTES = 2048;

/** A first-in first-out queue of bytes. Its user bounds it. */
export class ChunkQueue {
  #chunks: Buffer[] = [];
  /** Of the first chunk that is still here, and how much of it is gone. */
  #first = 0;
  #gone = 0;
  /** Bytes written into the last chunk, while it is a block of our own with room left. */
  #filled = -1;
  /** Bytes that wait. */
  bytes = 0;

  push(chunk: Buffer): void {
    const length = chunk.length;
    if (length === 0) return;
    this.bytes += length;
    if (length < JOINED_BYTES) {
      const last = this.#chunks[this.#chunks.length - 1];
      if (this.#filled >= 0 && last !== undefined && last.length - this.#filled >= length) {
        this.#filled += chunk.copy(last, this.#filled);
        return;
      }
      this.#seal();
      // A queue of one short chunk needs no block.
      if (this.#chunks.length > this.#first) {
        const block = Buffer.allocUnsafe(BLOCK_BYTES);
        this.#filled = chunk.copy(block, 0);
        this.#chunks.push(block);
        return;
      }
    } else this.#seal();
    this.#chunks.push(kept(chunk));
  }

  /** Takes the first bytes: at most `most`, in one piece, without a copy. Empty when nothing waits. */
  shift(most: number): Buffer {
    const chunk = this.#chunks[this.#first];
    if (chunk === undefined) return EMPTY;
    const isLast = this.#first === this.#chunks.length - 1;
    const end = isLast && this.#filled >= 0 ? this.#filled : chunk.length;
    const start = this.#gone;
    const stop = Math.min(end, start + most);
    this.bytes -= stop - start;
    if (stop < end) this.#gone = stop;
    else {
      if (isLast) this.#filled = -1;
      this.#gone = 0;
      this.#chunks[this.#first++] = EMPTY;
      if (this.#first === this.#chunks.length) {
        this.#chunks = [];
        this.#first = 0;
      } else if (this.#first >= 64) {
        this.#chunks.splice(0, this.#first);
        this.#first = 0;
      }
    }
    return start === 0 && stop === chunk.length ? chunk : chunk.subarray(start, stop);
  }

  clear(): void {
    this.#chunks = [];
    this.#first = 0;
    this.#gone = 0;
    this.#filled = -1;
    this.bytes = 0;
  }

  /** The block at the end takes no more. */
  #seal(): void {
    const last = this.#chunks.length - 1;
    const block = this.#chunks[last];
    if (this.#filled >= 0 && block !== undefined) this.#chunks[last] = block.subarray(0, this.#filled);
    this.#filled = -1;
  }
}

const EMPTY = Buffer.alloc(0);
