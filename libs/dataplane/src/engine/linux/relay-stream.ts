// One direction of a relayed connection: from one socket to the other, copied while small, spliced once it is bulk.
import * as libc from '../../transport/linux/libc.ts';
import type { Pipe, PipePool } from './pipe-pool.ts';
import { PIPE_BYTES } from './pipe-pool.ts';

/** A socket as both directions see it. The kernel tells only of changes (edge-triggered), so what it told is kept here. */
export type Side = {
  fd: number;
  readable: boolean;
  writable: boolean;
  /** The other end has closed its direction: reading goes on until the end is met, however short the reads. */
  peerEnded: boolean;
  /** Urgent bytes or a fault were told of: then a short read does not mean that everything was read. */
  sawUrgent: boolean;
  /** The socket still gathers small sends (Nagle). One that carries a single one need not be told otherwise. */
  delays: boolean;
};

/** What moving bytes came to: `again` when another turn is due, `idle` when only an event can help. */
export type Moved = 'idle' | 'again' | 'reset';

const COPY_BYTES = 65_536;
/** Bytes moved before others have their turn. */
const BUDGET_BYTES = 4 << 20;
const NOTHING = Buffer.alloc(0);

const copied = libc.fixedMemory(COPY_BYTES);

/** **Bounds** memory: at most one copy's remainder, or one pipe. */
export class RelayStream {
  readonly #from: Side;
  readonly #to: Side;
  readonly #pipes: PipePool;
  /** Read and not yet sent. */
  #rest: Buffer = NOTHING;
  #pipe: Pipe | undefined;
  /** The last read filled all the room there was: the next one goes through a pipe, also after a pause that gave it back. */
  #isBulk = false;
  #inPipe = 0;
  #ended = false;
  /** Both its end has been read and everything has been sent, the end too. */
  done = false;
  /** Moved and not yet counted; whoever counts them takes them off. */
  bytes = 0;

  constructor(from: Side, to: Side, pipes: PipePool) {
    this.#from = from;
    this.#to = to;
    this.#pipes = pipes;
  }

  /** Bytes to send before anything that is read: the hello. */
  prepend(bytes: Buffer): void {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([bytes, this.#rest]);
  }

  /** `isLast`: the other direction is done already, so the end need not be sent: closing both sockets says it. */
  move(isLast: boolean): Moved {
    let budget = BUDGET_BYTES;
    while (!this.done) {
      const sent = this.#sendRest();
      if (sent !== 'sent') return sent;
      if (this.#ended) return this.#finish(isLast);
      if (!this.#from.readable) {
        this.#givePipeBack();
        return 'idle';
      }
      if (budget <= 0) return 'again';
      if (this.#isBulk) this.#pipe ??= this.#pipes.take();
      const count = this.#pipe === undefined ? this.#copy() : this.#splice(this.#pipe);
      if (count < 0) return 'reset';
      budget -= count;
    }
    return 'idle';
  }

  /** Sends what was read; `sent` when nothing of it is left. */
  #sendRest(): Moved | 'sent' {
    while (this.#inPipe > 0 && this.#pipe !== undefined) {
      if (!this.#to.writable) return 'idle';
      if (this.#to.delays) hurry(this.#to);
      const count = libc.splice(this.#pipe.readFd, this.#to.fd, this.#inPipe);
      if (count <= 0) {
        if (count < 0 && !isAgain()) return 'reset';
        this.#to.writable = false;
        return 'idle';
      }
      this.#inPipe -= count;
    }
    while (this.#rest.length > 0) {
      if (!this.#to.writable) return 'idle';
      if (this.#to.delays) hurry(this.#to);
      const count = libc.send(this.#to.fd, this.#rest, this.#rest.length, libc.MSG_NOSIGNAL);
      if (count < 0) {
        if (!isAgain()) return 'reset';
        this.#to.writable = false;
        return 'idle';
      }
      if (count < this.#rest.length) this.#to.writable = false;
      this.#rest = count === this.#rest.length ? NOTHING : this.#rest.subarray(count);
    }
    return 'sent';
  }

  /** Reads once and sends it at once; what was not taken is kept. The count, or -1 after a reset. */
  #copy(): number {
    const count = libc.recvAt(this.#from.fd, copied.address, COPY_BYTES, 0);
    if (count === 0) this.#ended = true;
    if (count <= 0) return this.#noBytes(count);
    this.bytes += count;
    if (count < COPY_BYTES) {
      // A short read empties the socket: the next byte is an event, and after an end there is none.
      if (!this.#from.peerEnded) this.#from.readable = false;
      else if (!this.#from.sawUrgent) this.#ended = true;
    } else this.#isBulk = true;
    let sent = 0;
    if (this.#to.writable) {
      // The last bytes wait for the end, which is sent next and takes them along: one packet instead of two.
      if (this.#to.delays && !this.#ended) hurry(this.#to);
      sent = libc.sendAt(this.#to.fd, copied.address, count, this.#ended ? libc.MSG_NOSIGNAL | libc.MSG_MORE : libc.MSG_NOSIGNAL);
      if (sent < 0) {
        if (!isAgain()) return -1;
        sent = 0;
      }
      if (sent < count) this.#to.writable = false;
    }
    if (sent < count) this.#rest = Buffer.from(copied.bytes.subarray(sent, count));
    return count;
  }

  #splice(pipe: Pipe): number {
    const count = libc.splice(this.#from.fd, pipe.writeFd, PIPE_BYTES);
    if (count === 0) this.#ended = true;
    if (count <= 0) return this.#noBytes(count);
    this.bytes += count;
    this.#isBulk = count >= COPY_BYTES;
    this.#inPipe = count;
    return count;
  }

  #noBytes(count: number): number {
    if (count === 0) return 0;
    if (!isAgain()) return -1;
    this.#from.readable = false;
    return 0;
  }

  #finish(isLast: boolean): Moved {
    this.done = true;
    this.#givePipeBack();
    if (!isLast) libc.shutdown(this.#to.fd, libc.SHUT_WR);
    return 'idle';
  }

  #givePipeBack(): void {
    if (this.#pipe === undefined || this.#inPipe > 0) return;
    this.#pipes.giveBack(this.#pipe);
    this.#pipe = undefined;
  }

  /** Lets go of everything; the sockets are their owner's. */
  release(): void {
    this.done = true;
    this.#rest = NOTHING;
    if (this.#pipe === undefined) return;
    if (this.#inPipe > 0) this.#pipes.discard(this.#pipe);
    else this.#pipes.giveBack(this.#pipe);
    this.#pipe = undefined;
    this.#inPipe = 0;
  }
}

function hurry(side: Side): void {
  side.delays = false;
  libc.setOption(side.fd, libc.IPPROTO_TCP, libc.TCP_NODELAY, 1);
}

/** Whether the call that just failed may be made again later. */
export function isAgain(): boolean {
  const error = libc.errno();
  return error === libc.EAGAIN || error === libc.EINTR;
}
