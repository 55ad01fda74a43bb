// What a connection sends: frames written one after another into a slab, and handed to the socket once a turn of the event loop.
import { isLent } from '../transport/lent.ts';
import type { ByteStream } from '../transport/transport.ts';
import { HEAD_BYTES } from './protocol.ts';
import { giveBackSlab, type Slab, slabSent, takeSlab } from './slab.ts';

/** Longer chunks are handed to the socket as they are, unless they are only lent; up to this copying is cheaper than one more buffer. */
const COPIED_BYTES = 8192;
/** Slabs handed over and not known to be sent; of more, this output loses count, and they are not used again. */
const MAX_UNSENT_SLABS = 64;

// Outputs that hold something unsent. One turn of the loop serves all of them, after all sockets that were readable.
const dirty = new Set<Output>();
let isScheduled = false;

function flushAll(): void {
  isScheduled = false;
  // What a flush leads to is for the next turn.
  const outputs = [...dirty];
  dirty.clear();
  for (let i = 0; i < outputs.length; i++) (outputs[i] as Output).flush();
}

/** Writes frames of one connection. Positions returned by `reserve` hold until the next call. */
export class Output {
  readonly #socket: ByteStream;
  readonly #flushed: () => void;
  #slab: Slab | undefined;
  #start = 0;
  /** Slabs of which the socket holds something; undefined where the socket does not tell when it has sent. */
  readonly #unsent: Slab[] | undefined;
  #segments: Buffer[] = [];
  #segmentsBytes = 0;
  #isDirty = false;
  #isClosed = false;
  /** Where the flags of the last frame are, while it can still be given END_STREAM. */
  #lastFlags = -1;
  #lastId = 0;
  /** The socket holds more than it wants; ends with its `drain`. */
  isCongested = false;
  /** Bytes ever given to the socket, to tell what certainly was not sent. */
  flushedBytes = 0;

  /** `flushed` is called after each hand-over that left the socket uncongested. */
  constructor(socket: ByteStream, flushed: () => void) {
    this.#socket = socket;
    this.#flushed = flushed;
    this.#unsent = socket.onSent === undefined ? undefined : [];
    socket.onSent?.(() => this.#sent());
  }

  /** Bytes written here and not yet given to the socket. */
  get pendingBytes(): number {
    return this.#slab === undefined ? this.#segmentsBytes : this.#segmentsBytes + this.#slab.position - this.#start;
  }

  /** Bytes not yet taken by the kernel. */
  get unsentBytes(): number {
    return this.pendingBytes + this.#socket.writableLength;
  }

  /** Where the writer is, in bytes since the connection began. */
  get writtenBytes(): number {
    return this.flushedBytes + this.pendingBytes;
  }

  /** The slab to write to, from `reserve` on. */
  get bytes(): Buffer {
    return (this.#slab as Slab).bytes;
  }

  /** Makes room for `count` bytes in one piece and returns where they go; `commit` says where they ended. */
  reserve(count: number): number {
    this.#lastFlags = -1;
    let slab = this.#slab;
    if (slab === undefined || slab.bytes.length - slab.position < count) {
      slab = this.#takeSlab(count);
      this.#slab = slab;
      this.#start = slab.position;
    }
    if (!this.#isDirty) this.#schedule();
    return slab.position;
  }

  commit(position: number): void {
    (this.#slab as Slab).position = position;
  }

  /** A frame's head at a reserved position; returns where the payload goes. */
  head(position: number, length: number, type: number, flags: number, id: number): number {
    const { bytes } = this.#slab as Slab;
    bytes[position] = length >>> 16;
    bytes[position + 1] = (length >>> 8) & 0xff;
    bytes[position + 2] = length & 0xff;
    bytes[position + 3] = type;
    bytes[position + 4] = flags;
    bytes[position + 5] = id >>> 24;
    bytes[position + 6] = (id >>> 16) & 0xff;
    bytes[position + 7] = (id >>> 8) & 0xff;
    bytes[position + 8] = id & 0xff;
    return position + HEAD_BYTES;
  }

  /** A whole small frame with one 32-bit word (RST_STREAM, WINDOW_UPDATE). */
  word(type: number, id: number, value: number): void {
    const position = this.head(this.reserve(HEAD_BYTES + 4), 4, type, 0, id);
    this.bytes.writeUInt32BE(value >>> 0, position);
    this.commit(position + 4);
  }

  /** A frame whose payload is `input[start, end)`. A long one is handed on as it is: the caller no longer changes it. */
  frame(type: number, flags: number, id: number, input: Buffer, start: number, end: number): void {
    const length = end - start;
    const isCopied = length <= COPIED_BYTES || isLent(input);
    const at = this.reserve(HEAD_BYTES + (isCopied ? length : 0));
    const position = this.head(at, length, type, flags, id);
    if (isCopied) {
      const { bytes } = this.#slab as Slab;
      if (length > 32) input.copy(bytes, position, start, end);
      else for (let i = 0; i < length; i++) bytes[position + i] = input[start + i] as number;
      this.commit(position + length);
    } else {
      this.commit(position);
      this.#cut();
      this.#segments.push(start === 0 && end === input.length ? input : input.subarray(start, end));
      this.#segmentsBytes += length;
    }
    this.mark(id, at);
  }

  /** The frame just written at `position` may still be given END_STREAM. */
  mark(id: number, position: number): void {
    this.#lastFlags = position + 4;
    this.#lastId = id;
  }

  /** Sets END_STREAM on the last frame written, if it is this stream's and still here. */
  endLast(id: number): boolean {
    if (this.#lastFlags < 0 || this.#lastId !== id) return false;
    const { bytes } = this.#slab as Slab;
    bytes[this.#lastFlags] = (bytes[this.#lastFlags] as number) | 1;
    this.#lastFlags = -1;
    return true;
  }

  /** Hands all that was written to the socket. */
  flush(): void {
    if (this.#isDirty) dirty.delete(this);
    this.#isDirty = false;
    this.#lastFlags = -1;
    if (this.#isClosed) return;
    const slab = this.#slab;
    if (slab === undefined) return;
    const socket = this.#socket;
    this.flushedBytes += this.pendingBytes;
    let isOpen: boolean;
    // One hand-over at least is not known to be sent from here on, so that giving it back does not begin it anew.
    this.#handOver(slab);
    if (this.#segments.length === 0) isOpen = slab.position === this.#start || socket.write(slab.bytes.subarray(this.#start, slab.position));
    else {
      this.#cut();
      const segments = this.#segments;
      this.#segments = [];
      this.#segmentsBytes = 0;
      socket.cork();
      isOpen = true;
      for (let i = 0; i < segments.length; i++) isOpen = socket.write(segments[i] as Buffer);
      socket.uncork();
    }
    giveBackSlab(slab);
    this.#slab = undefined;
    this.isCongested = !isOpen;
    if (isOpen) this.#flushed();
  }

  /** Lets go of everything; nothing is sent any more. */
  close(): void {
    this.#isClosed = true;
    this.#isDirty = false;
    dirty.delete(this);
    if (this.#slab !== undefined) {
      // Nobody has seen what was written since the last cut.
      this.#slab.position = this.#start;
      giveBackSlab(this.#slab);
    }
    this.#slab = undefined;
    this.#segments = [];
    this.#segmentsBytes = 0;
    this.#lastFlags = -1;
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#isDirty = true;
    if (this.#socket.atTurnEnd !== undefined) return this.#socket.atTurnEnd(this);
    dirty.add(this);
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(flushAll);
  }

  /** Ends the current segment, so that what follows in the slab stands behind a chunk of somebody else's. */
  #cut(): void {
    const slab = this.#slab as Slab;
    if (slab.position > this.#start) {
      this.#segments.push(slab.bytes.subarray(this.#start, slab.position));
      this.#segmentsBytes += slab.position - this.#start;
    }
    this.#start = slab.position;
  }

  #takeSlab(count: number): Slab {
    if (this.#slab !== undefined) {
      this.#cut();
      this.#handOver(this.#slab);
      giveBackSlab(this.#slab);
      this.#slab = undefined;
    }
    return takeSlab(count);
  }

  /** What is in the slab goes to the socket, and stays there until it is sent. */
  #handOver(slab: Slab): void {
    slab.unsent += 1;
    if (this.#unsent !== undefined && this.#unsent.length < MAX_UNSENT_SLABS) this.#unsent.push(slab);
  }

  /** The socket holds nothing more: only what is cut and not yet handed over still needs its slab. */
  #sent(): void {
    const unsent = this.#unsent;
    if (unsent === undefined || unsent.length === 0 || this.#segments.length > 0) return;
    for (let i = 0; i < unsent.length; i++) slabSent(unsent[i] as Slab);
    unsent.length = 0;
  }
}
