// A connection on the loop, with the part of net.Socket's face that codecs and relays use; writes of one turn leave in one send.
import { EventEmitter } from 'node:events';
import { kept, LENT_BYTES, lentChunk, lentRoom } from '../lent.ts';
import { IdleLimit } from './idle-limit.ts';
import * as libc from './libc.ts';
import type { Flushed, Loop, Watched } from './loop.ts';
import { readRoom, takeReadRoom } from './read-room.ts';
import { readSocketAddress, socketAddressOf } from './socket-address.ts';
import { WriteQueue } from './write-queue.ts';

/** More than this waiting to be sent: `write` returns false. */
const HIGH_WATER_BYTES = 65_536;
/** Reads of one event before others have their turn. */
const READS_A_TURN = 4;

/** What a read or a send came to besides a count of bytes. */
export const AGAIN = -1;
export const FAILED = -2;

export type StreamOptions = { readonly allowHalfOpen: boolean };

/**
 * A plain TCP connection. Events as in net.Socket: `connect`, `data`, `end`, `drain`, `timeout`, `error`, `close`; the
 * same order, and `close` last and once. **Owns** its descriptor.
 */
export class LoopStream extends EventEmitter implements Watched, Flushed {
  readonly loop: Loop;
  fd: number;
  destroyed = false;
  readableEnded = false;
  writableFinished = false;
  bytesRead = 0;
  bytesWritten = 0;
  connecting: boolean;
  readonly #allowHalfOpen: boolean;
  #key: number;
  #events: number;
  readonly #queue = new WriteQueue();
  #marked = false;
  #blocked = false; // the kernel took no more: wait for EPOLLOUT
  #needDrain = false;
  #ending = false;
  #paused = true;
  #readable = false; // an event came while paused
  readonly #idle: IdleLimit;
  #closeQueued = false;
  #corked = 0;
  #error: Error | undefined;
  #lends = false;
  #sent: (() => void) | undefined;
  #taker: ((chunk: Buffer) => void) | undefined;

  constructor(loop: Loop, fd: number, connecting: boolean, options: StreamOptions) {
    super();
    loop.own(fd);
    this.loop = loop;
    this.fd = fd;
    this.connecting = connecting;
    this.#allowHalfOpen = options.allowHalfOpen;
    this.#idle = new IdleLimit(loop, () => this.emit('timeout'));
    this.#events = connecting ? libc.EPOLLOUT : libc.EPOLLIN;
    this.#key = loop.watch(fd, this.#events, this);
  }

  override on(event: string, listener: (...args: never[]) => void): this {
    super.on(event, listener as (...args: unknown[]) => void);
    if (event === 'data') {
      this.#findTaker();
      this.resume();
    }
    return this;
  }

  override removeListener(event: string, listener: (...args: never[]) => void): this {
    super.removeListener(event, listener as (...args: unknown[]) => void);
    if (event === 'data') this.#findTaker();
    return this;
  }

  override off(event: string, listener: (...args: never[]) => void): this {
    return this.removeListener(event, listener);
  }

  /** The one who takes what is read is called without the detour through `emit`. */
  #findTaker(): void {
    const takers = this.rawListeners('data') as ((chunk: Buffer) => void)[];
    this.#taker = takers.length === 1 ? takers[0] : undefined;
  }

  get remoteAddress(): string | undefined {
    return socketAddressOf(libc.getpeername, this.fd)?.host;
  }

  get remotePort(): number | undefined {
    return socketAddressOf(libc.getpeername, this.fd)?.port;
  }

  /** Before a packet filter redirected it; for connections accepted. */
  get originalDestination(): { readonly host: string; readonly port: number } | undefined {
    if (this.fd < 0) return undefined;
    const bytes = libc.originalDestination(this.fd, this.remoteAddress?.includes(':') === true);
    return bytes === undefined ? undefined : readSocketAddress(bytes);
  }

  get localPort(): number | undefined {
    return socketAddressOf(libc.getsockname, this.fd)?.port;
  }

  get writableLength(): number {
    return this.#queue.bytes;
  }

  get writableNeedDrain(): boolean {
    return this.#needDrain;
  }

  onEvents(events: number): void {
    if (this.connecting) return this.#connected();
    if ((events & libc.EPOLLOUT) !== 0) {
      this.#blocked = false;
      this.onWritable();
      this.flush();
    }
    if ((events & (libc.EPOLLIN | libc.EPOLLERR | libc.EPOLLHUP)) !== 0 && !this.destroyed) {
      // An end of both ways is reported whether asked for or not: it is read, never waited on.
      if (this.#paused && (events & (libc.EPOLLERR | libc.EPOLLHUP)) === 0) {
        this.#readable = true;
        this.#watch(this.#events & ~libc.EPOLLIN);
      } else if (this.#paused && this.readableEnded) this.fail(libc.socketError(this.fd));
      else if (this.#paused && (events & libc.EPOLLERR) === 0) {
        this.#readable = true;
        this.loop.unwatch(this.#key, this.fd);
        this.#key = -1;
      } else this.readSome();
    }
  }

  #connected(): void {
    const error = libc.socketError(this.fd);
    if (error !== 0) return this.fail(error);
    this.connecting = false;
    this.#watch(libc.EPOLLIN);
    this.onConnected();
  }

  /** TCP stands; a TLS stream shakes hands first. */
  protected onConnected(): void {
    this.emit('connect');
    this.flush();
  }

  /** The kernel takes bytes again. */
  protected onWritable(): void {}

  #watch(events: number): void {
    if (this.#events === events || this.fd < 0) return;
    this.#events = events;
    if (this.#key >= 0) this.loop.change(this.#key, this.fd, events);
    else this.#key = this.loop.watch(this.fd, events, this);
  }

  /** Asks for, or stops asking for, the event that the kernel takes bytes. */
  protected wantWritable(yes: boolean): void {
    this.#watch(yes ? this.#events | libc.EPOLLOUT : this.#events & ~libc.EPOLLOUT);
  }

  protected readSome(): void {
    for (let reads = 0; reads < READS_A_TURN && !this.#paused && !this.destroyed && !this.readableEnded; reads++) {
      const isLent = this.#lends;
      const into = isLent ? lentRoom() : readRoom();
      const count = this.receive(into, LENT_BYTES);
      if (count > 0) {
        this.bytesRead += count;
        this.#idle.movedMs = this.loop.nowMs;
        if (!isLent) takeReadRoom(count);
        const chunk = isLent ? lentChunk(count) : into.subarray(0, count);
        const taker = this.#taker;
        if (taker !== undefined) taker(chunk);
        else this.emit('data', chunk);
        if (count < LENT_BYTES && !this.hasMore()) return;
      } else {
        if (count === 0) this.#ended();
        return;
      }
    }
    if (!this.destroyed && !this.readableEnded && this.hasMore()) {
      this.#readable = true;
      if (!this.#paused) this.#mark();
    }
  }

  /** Bytes were read from the kernel but not handed out: no event will tell of them. */
  protected hasMore(): boolean {
    return false;
  }

  /** Reads into `into`: the count, 0 at the end, AGAIN or FAILED (after `fail`). */
  protected receive(into: Buffer, sizeBytes: number): number {
    const count = libc.recv(this.fd, into, sizeBytes, 0);
    if (count >= 0) return count;
    return this.#failedWith(libc.errno());
  }

  /** Sends from `from`: the count, AGAIN or FAILED (after `fail`). */
  protected transmit(from: Uint8Array, sizeBytes: number): number {
    const count = libc.send(this.fd, from, sizeBytes, libc.MSG_NOSIGNAL);
    if (count >= 0) return count;
    return this.#failedWith(libc.errno());
  }

  #failedWith(error: number): number {
    if (error === libc.EAGAIN || error === libc.EINTR) return AGAIN;
    this.fail(error);
    return FAILED;
  }

  /** After the last byte of ours: no more will come. */
  protected transmitEnd(): void {
    libc.shutdown(this.fd, libc.SHUT_WR);
  }

  #ended(): void {
    this.readableEnded = true;
    this.#watch(this.#events & ~libc.EPOLLIN);
    this.emit('end');
    if (!this.#allowHalfOpen) this.end();
    this.#closeIfDone();
  }

  /** A system error: `error`, then `close`. */
  protected fail(errorNumber: number): void {
    const code = libc.errorName(errorNumber);
    this.destroy(Object.assign(new Error(`${this.connecting ? 'connect' : 'connection'} failed: ${code}`), { code }));
  }

  pause(): this {
    this.#paused = true;
    return this;
  }

  isPaused(): boolean {
    return this.#paused;
  }

  resume(): this {
    if (!this.#paused) return this;
    this.#paused = false;
    if (this.connecting || this.destroyed || this.readableEnded) return this;
    this.#watch(this.#events | libc.EPOLLIN);
    if (this.#readable || this.hasMore()) this.#mark();
    return this;
  }

  setTimeout(idleMs: number, onTimeout?: () => void): this {
    if (onTimeout !== undefined) this.once('timeout', onTimeout);
    this.#idle.set(this.destroyed ? 0 : idleMs);
    return this;
  }

  cork(): void {
    this.#corked += 1;
  }

  uncork(): void {
    if (this.#corked > 0) this.#corked -= 1;
    if (this.#queue.bytes > 0) this.#mark();
  }

  atTurnEnd(flushed: Flushed): void {
    this.loop.mark(flushed);
  }

  lend(): void {
    this.#lends = true;
  }

  onSent(fn: () => void): void {
    this.#sent = fn;
  }

  /** The bytes are taken either way; false: wait for `drain`. */
  write(chunk: Uint8Array | string, encoding?: BufferEncoding | (() => void), done?: () => void): boolean {
    if (this.destroyed || this.#ending) return false;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    if (bytes.length > 0) {
      this.#queue.push(kept(bytes));
    }
    const callback = typeof encoding === 'function' ? encoding : done;
    if (callback !== undefined) queueMicrotask(callback);
    this.#mark();
    if (this.writableLength <= HIGH_WATER_BYTES) return true;
    this.#needDrain = true;
    return false;
  }

  writeNow(bytes: Buffer, sizeBytes: number): boolean {
    if (this.destroyed || this.#ending) return false;
    let sent = 0;
    if (this.#queue.bytes === 0 && !this.#blocked && !this.connecting && this.readyToSend()) {
      do {
        const count = this.transmit(sent === 0 ? bytes : bytes.subarray(sent, sizeBytes), sizeBytes - sent);
        if (count === FAILED) return false;
        if (count === AGAIN) break;
        sent += count;
      } while (sent < sizeBytes && this.mayOfferAgain());
      this.bytesWritten += sent;
      this.#idle.movedMs = this.loop.nowMs;
      if (sent === sizeBytes) return true;
      this.#block();
    }
    return this.write(Buffer.from(bytes.subarray(sent, sizeBytes)));
  }

  end(chunk?: Uint8Array | string | (() => void), encoding?: BufferEncoding | (() => void), done?: () => void): this {
    if (this.destroyed || this.#ending) return this;
    if (chunk !== undefined && typeof chunk !== 'function') this.write(chunk, typeof encoding === 'string' ? encoding : undefined);
    const callback = typeof chunk === 'function' ? chunk : typeof encoding === 'function' ? encoding : done;
    if (callback !== undefined) this.once('finish', callback);
    this.#ending = true;
    this.#mark();
    return this;
  }

  #mark(): void {
    if (this.#marked || this.destroyed) return;
    this.#marked = true;
    this.loop.mark(this);
  }

  /** Sends what waits, and reads what an event told of while paused. */
  flush(): void {
    this.#marked = false;
    if (this.destroyed || this.connecting) return;
    if (!this.#blocked && this.readyToSend()) this.#sendQueue();
    if (this.#readable && !this.#paused && !this.destroyed) {
      this.#readable = false;
      this.readSome();
    }
  }

  /** Whether bytes may be sent yet: not before a handshake has ended. */
  protected readyToSend(): boolean {
    return true;
  }

  #sendQueue(): void {
    const queue = this.#queue;
    for (let from = queue.next(); from !== undefined; from = queue.next()) {
      const size = queue.nextBytes;
      const sent = this.transmit(from, size);
      if (sent === FAILED) return;
      if (sent === AGAIN) return this.#block();
      this.#idle.movedMs = this.loop.nowMs;
      this.bytesWritten += sent;
      queue.taken(sent);
      if (sent < size && !this.mayOfferAgain()) return this.#block();
    }
    if (this.#events & libc.EPOLLOUT) this.wantWritable(false);
    this.#sent?.();
    if (this.#needDrain) {
      this.#needDrain = false;
      this.emit('drain');
    }
    if (this.#ending && !this.writableFinished && this.#queue.bytes === 0 && !this.destroyed) {
      this.transmitEnd();
      this.writableFinished = true;
      this.emit('finish');
      this.#closeIfDone();
    }
  }

  /** Whether a send that took less than offered says nothing about the next: so with TLS, which takes a record at a time. */
  protected mayOfferAgain(): boolean {
    return false;
  }

  #block(): void {
    this.#blocked = true;
    this.wantWritable(true);
  }

  #closeIfDone(): void {
    if (this.readableEnded && this.writableFinished) this.destroy();
  }

  destroy(error?: Error): this {
    if (this.destroyed) return this;
    this.destroyed = true;
    this.#error = error;
    this.#idle.stop();
    this.#queue.clear();
    this.#sent?.();
    this.release();
    if (this.#key >= 0) this.loop.forget(this.#key);
    const fd = this.fd;
    this.fd = -1;
    this.loop.closeOwn(fd);
    // Listeners hear of it after the caller is done, as with net.Socket.
    if (!this.#closeQueued) {
      this.#closeQueued = true;
      queueMicrotask(this.#announceClose);
    }
    return this;
  }

  readonly #announceClose = (): void => {
    if (this.#error !== undefined && this.listenerCount('error') > 0) this.emit('error', this.#error);
    this.emit('close', this.#error !== undefined);
  };

  /** Frees what hangs on the connection besides its descriptor. */
  protected release(): void {}

  /** Closes with a TCP reset, so that nobody takes a cut-off stream for a complete one (reliability 55). */
  resetAndDestroy(): this {
    if (!this.destroyed) libc.resetOnClose(this.fd);
    return this.destroy();
  }
}
