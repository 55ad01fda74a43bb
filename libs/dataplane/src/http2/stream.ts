// One stream, either end of it: its state, what waits to be sent and what waits to be taken.
import type { Abort, BodySink, ClientExchange, HeaderList, ResponseHead, ResponseSink, ServerExchange } from '../http/exchange.ts';
import { ChunkQueue } from './chunk-queue.ts';
import { ERROR } from './protocol.ts';
import type { Connection } from './connection.ts';
import { Windows } from './windows.ts';

/** How a reset says why. RFC 9113 §7; gRPC maps these back. */
const CODES: Readonly<Record<Abort['reason'], number>> = {
  'not-sent': ERROR.refusedStream,
  unprocessed: ERROR.refusedStream,
  reset: ERROR.internal,
  closed: ERROR.internal,
  protocol: ERROR.protocol,
  'too-large': ERROR.cancel,
  timeout: ERROR.cancel,
  cancelled: ERROR.cancel,
  overloaded: ERROR.enhanceYourCalm,
};

/**
 * A stream from its first HEADERS on. RFC 9113 §5.1 in two halves: `isLocalEnded` and `isRemoteEnded` are the half-closed states,
 * both together or `isGone` closed. One class for servers and clients; each sees its own interface of it.
 */
export class Stream implements ServerExchange, ClientExchange {
  readonly connection: Connection;
  readonly id: number;
  readonly windows: Windows;
  /** Bytes of body that `content-length` still promises; -1: it said nothing. */
  restBytes = -1;
  isLocalEnded = false;
  isRemoteEnded = false;
  isGone = false;
  /** A final response went out (server) or came in (client). */
  hasResponse = false;
  /** The request was HEAD: its response has no body whatever it says. */
  isHead = false;
  /** Asked for another protocol (extended CONNECT): its two directions end one by one. */
  isTunnel = false;
  /** It waits in the connection's line for connection window or socket. */
  isInLine = false;
  /** The connection's tick when a byte of body last moved. */
  movedTick: number;
  /** Where its head ended in the connection's output: past what was flushed, nothing of it was sent. */
  sentAt = 0;
  response: ResponseSink | undefined;
  onDrain: (() => void) | undefined;
  onAbort: ((why: Abort) => void) | undefined;
  #sink: BodySink | undefined;
  #isPaused = false;
  /** Body that came before it could be given out, and how the message ended behind it. */
  #held: ChunkQueue | undefined;
  #hasEnd = false;
  #hasToldEnd = false;
  #trailers: HeaderList | undefined;
  /** Body that waits for windows, and what is behind it. */
  #queue: ChunkQueue | undefined;
  #isEndQueued = false;
  #queuedTrailers: HeaderList | undefined;
  #isHeldBack = false;

  constructor(connection: Connection, id: number) {
    this.connection = connection;
    this.id = id;
    this.windows = new Windows(connection.settings.windowBytes, connection.streamWindowBytes);
    this.movedTick = connection.ticks.now;
  }

  get peer(): unknown {
    return this.connection.peer;
  }

  // What comes in.

  /** Where the body goes. A client's stream has it from the start. */
  receive(sink: BodySink): void {
    if (this.#sink !== undefined) return;
    this.#sink = sink;
    if (this.isGone) sink.abort({ reason: 'closed', detail: 'the stream was over before' });
    else this.#release();
  }

  pauseBody(): void {
    this.#isPaused = true;
  }

  resumeBody(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#release();
  }

  /** A part of DATA; flow control has been checked. */
  take(chunk: Buffer): void {
    if (this.#sink === undefined || this.#isPaused || (this.#held !== undefined && this.#held.bytes > 0)) {
      this.#held ??= new ChunkQueue();
      this.#held.push(chunk);
      return;
    }
    this.giveBack(chunk.length);
    this.#sink.data(chunk);
  }

  /** The peer ended its half. */
  takeEnd(trailers: HeaderList | undefined): void {
    this.isRemoteEnded = true;
    this.#hasEnd = true;
    this.#trailers = trailers;
    if (this.#held === undefined || this.#held.bytes === 0) this.#release();
  }

  #release(): void {
    const sink = this.#sink;
    if (sink === undefined || this.#hasToldEnd) return;
    const held = this.#held;
    while (held !== undefined && held.bytes > 0) {
      if (this.#isPaused) return;
      const chunk = held.shift(held.bytes);
      this.giveBack(chunk.length);
      sink.data(chunk);
      if (this.#hasToldEnd) return;
    }
    if (!this.#hasEnd) return;
    this.#hasToldEnd = true;
    sink.end(this.#trailers);
    this.connection.settle(this);
  }

  /** Bytes of this stream were taken, or thrown away: the peer may send as many more. */
  giveBack(count: number): void {
    this.connection.giveBack(count);
    if (!this.isRemoteEnded && !this.isGone) this.connection.giveBackOn(this, count);
  }

  /** The end of it all was told to the body's taker, or there was none to tell. */
  get isTaken(): boolean {
    return this.#hasToldEnd;
  }

  // What goes out.

  inform(head: ResponseHead): void {
    if (!this.isLocalEnded && !this.hasResponse && head.status !== 101) this.connection.sender.response(this, head, false);
  }

  respond(head: ResponseHead, endsNow: boolean): void {
    this.#respond(head, endsNow, false);
  }

  #respond(head: ResponseHead, endsNow: boolean, isTunnel: boolean): void {
    if (this.isLocalEnded || this.hasResponse) return;
    this.hasResponse = true;
    this.isTunnel = isTunnel;
    this.connection.sender.response(this, head, endsNow);
    if (endsNow) this.#ended();
  }

  switchProtocols(head: ResponseHead): void {
    this.#respond({ status: 200, headers: head.headers, bodyBytes: undefined }, false, true);
  }

  write(chunk: Buffer): boolean {
    if (this.isLocalEnded || this.#isEndQueued) return true;
    const length = chunk.length;
    if (length === 0) return true;
    const queue = this.#queue;
    if ((queue === undefined || queue.bytes === 0) && this.connection.sender.canSend(this, length)) {
      this.connection.sender.data(this, chunk, false);
      return true;
    }
    (this.#queue ??= new ChunkQueue()).push(chunk);
    this.pump(Number.POSITIVE_INFINITY);
    if (this.#queue.bytes < this.connection.limits.bufferBytes) return true;
    this.#isHeldBack = true;
    return false;
  }

  end(trailers?: HeaderList): void {
    if (this.isLocalEnded || this.#isEndQueued) return;
    this.#isEndQueued = true;
    this.#queuedTrailers = trailers;
    if (this.#queue === undefined || this.#queue.bytes === 0) this.#sendEnd();
  }

  /** Sends what windows and socket let through, `frames` at most, and asks for more once half of what may wait has gone. */
  pump(frames: number): void {
    this.#send(frames);
    if (!this.#isHeldBack || this.isLocalEnded || (this.#queue?.bytes ?? 0) * 2 > this.connection.limits.bufferBytes) return;
    this.#isHeldBack = false;
    if (this.response === undefined) this.onDrain?.();
    else this.response.drain();
  }

  #send(frames: number): void {
    const queue = this.#queue;
    if (queue === undefined || this.isLocalEnded) return;
    while (queue.bytes > 0) {
      if (this.windows.sendBytes <= 0) return;
      const most = this.connection.sender.sendableBytes(this);
      if (most <= 0 || frames-- <= 0) return this.connection.sender.lineUp(this);
      const chunk = queue.shift(most);
      const isLast = queue.bytes === 0 && this.#isEndQueued && this.#queuedTrailers === undefined;
      this.connection.sender.data(this, chunk, isLast);
      if (isLast) return this.#ended();
    }
    if (this.#isEndQueued) this.#sendEnd();
  }

  #sendEnd(): void {
    this.connection.sender.end(this, this.#queuedTrailers);
    this.#ended();
  }

  #ended(): void {
    this.isLocalEnded = true;
    this.connection.settle(this);
  }

  // How it is cut off.

  /** The other end has answered in full and wants no more of the request; what it answered stays. */
  stopSending(): void {
    this.isLocalEnded = true;
    this.#queue?.clear();
  }

  /** Ends it from this side; nobody here hears of it. */
  abort(why: Abort): void {
    if (this.isGone) return;
    this.silence();
    this.connection.reset(this, CODES[why.reason]);
  }

  /** Nothing of it is told to anyone from here on. */
  silence(): void {
    this.#hasToldEnd = true;
    this.onAbort = undefined;
    this.onDrain = undefined;
  }

  /** It is over before its end: lets go of all that waits, and tells those who wait. */
  fail(why: Abort): void {
    if (this.isGone) return;
    this.isGone = true;
    this.isLocalEnded = true;
    this.isRemoteEnded = true;
    this.dropHeld();
    this.#queue?.clear();
    const { onAbort } = this;
    this.onAbort = undefined;
    this.onDrain = undefined;
    const sink = this.#sink;
    if (sink !== undefined && !this.#hasToldEnd) {
      this.#hasToldEnd = true;
      sink.abort(why);
    }
    onAbort?.(why);
  }

  /** Throws away what waits to be taken; the connection's window gets it back. */
  dropHeld(): void {
    const waiting = this.#held?.bytes ?? 0;
    this.#held?.clear();
    if (waiting > 0) this.connection.giveBack(waiting);
  }
}
