// Cutting bytes into frames: whole frames but DATA, whose payload is passed on as it comes.
import { FLAG, FRAME, HEAD_BYTES, MAX_FRAME_BYTES } from './protocol.ts';

/** What the reader calls, in the order of the bytes; nothing more after its `stop`. */
export interface FrameSink {
  /** A whole frame but DATA; the payload is `input[start, end)`, valid during the call only. */
  frame(type: number, flags: number, id: number, input: Buffer, start: number, end: number): void;
  /** DATA begins; `length` is its whole payload with padding. */
  dataStart(id: number, flags: number, length: number): void;
  /** A part of DATA without padding. */
  dataPart(input: Buffer, start: number, end: number): void;
  /** The last octet of DATA and of its padding came. */
  dataEnd(): void;
  /** A frame is longer than the reader takes, or its padding longer than itself. */
  badFrame(problem: 'too-long' | 'padding', type: number): void;
}

/**
 * Reads frames from chunks cut anywhere. Copies a frame only where a chunk ends inside it, and DATA never. **Bounds** holds one
 * frame of 16 KiB at most. **Source** RFC 9113 §4.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  #isStopped = false;
  /** The part of a frame that came so far, when a chunk ended inside it. */
  #held: Buffer | undefined;
  #heldCount = 0;
  #serial = 0;
  /** Payload of the current DATA frame still to come, and the padding behind it. */
  #dataRest = 0;
  #paddingRest = 0;
  #isInData = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Ignores all further bytes, also those of the chunk being read. */
  stop(): void {
    this.#isStopped = true;
    this.#held = undefined;
  }

  /** Counts up with each frame that was held; undefined while none is. The same number for long: a frame that does not end. */
  get held(): number | undefined {
    return this.#heldCount > 0 ? this.#serial : undefined;
  }

  /** Takes the next bytes; DATA parts refer to `chunk`. */
  feed(chunk: Buffer): void {
    const end = chunk.length;
    let position = 0;
    while (position < end && !this.#isStopped) {
      if (this.#isInData) position = this.#data(chunk, position, end);
      else if (this.#heldCount > 0) position = this.#fill(chunk, position, end);
      else position = this.#next(chunk, position, end);
    }
  }

  /** A frame that begins at `position`: handled at once where it is whole, held otherwise. */
  #next(chunk: Buffer, position: number, end: number): number {
    const needed = this.#needed(chunk, position, end - position);
    if (needed < 0) return end;
    if (end - position >= needed) {
      this.#handle(chunk, position, needed);
      return position + needed;
    }
    this.#hold(chunk, position, end, needed);
    return end;
  }

  /** Goes on with a held frame. */
  #fill(chunk: Buffer, position: number, end: number): number {
    const held = this.#held as Buffer;
    let needed = this.#needed(held, 0, this.#heldCount);
    const taken = Math.min(needed - this.#heldCount, end - position);
    this.#hold(chunk, position, position + taken, needed);
    needed = this.#needed(this.#held as Buffer, 0, this.#heldCount);
    if (needed >= 0 && this.#heldCount >= needed) {
      const whole = this.#held as Buffer;
      this.#serial++;
      this.#heldCount = 0;
      this.#held = undefined;
      this.#handle(whole, 0, needed);
    }
    return position + taken;
  }

  /** Octets until something can be done with the frame at `position`, as far as `count` octets of it tell; -1: refused. */
  #needed(input: Buffer, position: number, count: number): number {
    if (count < HEAD_BYTES) return HEAD_BYTES;
    const length = ((input[position] as number) << 16) | ((input[position + 1] as number) << 8) | (input[position + 2] as number);
    const type = input[position + 3] as number;
    if (length > MAX_FRAME_BYTES) {
      this.#bad('too-long', type);
      return -1;
    }
    if (type !== FRAME.data) return HEAD_BYTES + length;
    return ((input[position + 4] as number) & FLAG.padded) !== 0 && length > 0 ? HEAD_BYTES + 1 : HEAD_BYTES;
  }

  #hold(chunk: Buffer, start: number, end: number, needed: number): void {
    const old = this.#held;
    if (old === undefined || old.length < needed) {
      const held = Buffer.allocUnsafe(Math.max(needed, 64));
      if (old !== undefined) old.copy(held, 0, 0, this.#heldCount);
      this.#held = held;
    }
    this.#heldCount += chunk.copy(this.#held as Buffer, this.#heldCount, start, end);
  }

  #handle(input: Buffer, position: number, size: number): void {
    const type = input[position + 3] as number;
    const flags = input[position + 4] as number;
    const id = (((input[position + 5] as number) & 0x7f) << 24) | ((input[position + 6] as number) << 16) | ((input[position + 7] as number) << 8) | (input[position + 8] as number);
    if (type !== FRAME.data) {
      this.#sink.frame(type, flags, id, input, position + HEAD_BYTES, position + size);
      return;
    }
    const length = ((input[position] as number) << 16) | ((input[position + 1] as number) << 8) | (input[position + 2] as number);
    const isPadded = (flags & FLAG.padded) !== 0;
    const padding = isPadded && length > 0 ? (input[position + HEAD_BYTES] as number) : 0;
    if (isPadded && padding >= length) {
      this.#bad('padding', type);
      return;
    }
    this.#isInData = true;
    this.#dataRest = length - padding - (isPadded ? 1 : 0);
    this.#paddingRest = padding;
    this.#sink.dataStart(id, flags, length);
    if (this.#dataRest === 0 && this.#paddingRest === 0) this.#endData();
  }

  #data(chunk: Buffer, position: number, end: number): number {
    if (this.#dataRest > 0) {
      const stop = Math.min(end, position + this.#dataRest);
      this.#dataRest -= stop - position;
      this.#sink.dataPart(chunk, position, stop);
      position = stop;
    } else {
      const skipped = Math.min(end - position, this.#paddingRest);
      this.#paddingRest -= skipped;
      position += skipped;
    }
    if (this.#dataRest === 0 && this.#paddingRest === 0) this.#endData();
    return position;
  }

  #endData(): void {
    this.#isInData = false;
    if (!this.#isStopped) this.#sink.dataEnd();
  }

  #bad(problem: 'too-long' | 'padding', type: number): void {
    this.stop();
    this.#sink.badFrame(problem, type);
  }
}
