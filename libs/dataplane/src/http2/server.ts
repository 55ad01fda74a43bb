// The server's end: takes requests from a connection.
import type { Clock } from '@isthmus/runtime';
import type { HttpLimits, ServerConnection, ServerHandlers } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { Connection, type Side } from './connection.ts';
import { DECODED } from './hpack/decoder.ts';
import type { MessageFields } from './message.ts';
import { breach, ERROR, MAX_STREAM_ID, PREFACE, type Refusal } from './protocol.ts';
import { Stream } from './stream.ts';

/** What a server connection is given. */
export type ServeHttp2Options = {
  readonly limits: HttpLimits;
  readonly handlers: ServerHandlers;
  /** Handed on as `ServerExchange.peer`. */
  readonly peer: unknown;
  /** What the connection is, whatever a request claims. */
  readonly scheme: 'http' | 'https';
  readonly clock: Clock;
  /** Bytes of the connection that somebody has read already. */
  readonly first?: Buffer;
};

/**
 * Serves HTTP/2 on a socket, which it owns from here on; how both ends agreed on HTTP/2 is the caller's business. Refused, with
 * GOAWAY or RST_STREAM, is told through `handlers.onRefused` by a word of `REFUSALS`. **Source** RFC 9113.
 */
export function serveHttp2(socket: ByteStream, options: ServeHttp2Options): ServerConnection {
  return new Server(socket, options);
}

class Server implements ServerConnection, Side {
  readonly version = '2';
  onClose: (() => void) | undefined;
  readonly #handlers: ServerHandlers;
  readonly #limits: HttpLimits;
  readonly #scheme: 'http' | 'https';
  readonly #connection: Connection;
  #prefaceCount = 0;
  /** `draining`: told the peer to stop; `last`: told it which streams still count. */
  #state: 'open' | 'draining' | 'last' = 'open';
  #drainTick = 0;
  /** The highest stream that counts. */
  #finalId = MAX_STREAM_ID;

  constructor(socket: ByteStream, options: ServeHttp2Options) {
    this.#handlers = options.handlers;
    this.#limits = options.limits;
    this.#scheme = options.scheme;
    this.#connection = new Connection(socket, this, { limits: options.limits, clock: options.clock, isServer: true, peer: options.peer });
    this.#connection.begin();
    const { first } = options;
    if (first === undefined) this.#listen(socket);
    else {
      // The owner has its connection before the first request comes.
      process.nextTick(() => {
        this.#read(first);
        this.#listen(socket);
      });
    }
  }

  #listen(socket: ByteStream): void {
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.resume();
  }

  get active(): number {
    return this.#connection.streams.count;
  }

  drain(): void {
    if (this.#state !== 'open' || this.#connection.isClosed) return;
    this.#state = 'draining';
    this.#drainTick = this.#connection.ticks.now;
    // What is on its way to us still counts; the PING comes back behind it. RFC 9113 §6.8.
    this.#connection.sender.goaway(MAX_STREAM_ID, ERROR.none, '');
    if (!this.#connection.ping()) this.ponged();
  }

  destroy(): void {
    this.#connection.destroy({ reason: 'closed', detail: 'destroyed here' });
  }

  #read(chunk: Buffer): void {
    if (this.#prefaceCount === PREFACE.length) return this.#connection.read(chunk);
    const count = Math.min(PREFACE.length - this.#prefaceCount, chunk.length);
    if (chunk.compare(PREFACE, this.#prefaceCount, this.#prefaceCount + count, 0, count) !== 0) return this.#connection.fail(breach(ERROR.protocol, 'h2-preface', 'this is not HTTP/2'));
    this.#prefaceCount += count;
    if (count < chunk.length) this.#connection.read(chunk.subarray(count));
  }

  block(id: number, stream: Stream | undefined, isEnd: boolean, fields: MessageFields, result: number): void {
    if (stream !== undefined) return this.#trailers(stream, isEnd, fields, result);
    const connection = this.#connection;
    if ((id & 1) === 0) return connection.fail(breach(ERROR.protocol, 'h2-protocol', 'a client opens odd streams'));
    if (id <= connection.streams.lastId) {
      if (!connection.streams.wasReset(id)) connection.fail(breach(ERROR.streamClosed, 'h2-stream-closed', 'HEADERS on a closed stream'));
      return;
    }
    if (id > this.#finalId) return connection.streams.noteReset(id);
    connection.streams.lastId = id;
    connection.guard.opened();
    if (connection.streams.count >= this.#limits.streams) return this.#tooMany(id);
    if (result === DECODED.tooLarge) return this.#tooLarge(id, isEnd, 431);
    const head = fields.request(this.#scheme, isEnd);
    if (head === undefined) return connection.rejectId(id, breach(ERROR.protocol, 'h2-malformed', fields.problem ?? ''));
    if (head.target.length > this.#limits.targetBytes) return this.#tooLarge(id, isEnd, 414);
    const opened = this.#open(id, isEnd);
    if (head.bodyBytes !== undefined && !isEnd) opened.restBytes = head.bodyBytes;
    opened.isTunnel = head.upgrade !== undefined;
    if (isEnd) opened.takeEnd(undefined);
    this.#handlers.onRequest(head, opened);
  }

  #open(id: number, isEnd: boolean): Stream {
    const stream = new Stream(this.#connection, id);
    stream.isRemoteEnded = isEnd;
    this.#connection.streams.add(stream);
    return stream;
  }

  /** A client that has not read our settings is no attacker: its streams are refused, and it may send them again. */
  #tooMany(id: number): void {
    if (this.#connection.settings.knowsOurs) this.#connection.rejectId(id, breach(ERROR.refusedStream, 'h2-stream-limit', 'more streams than allowed'));
    else this.#connection.sendReset(id, ERROR.refusedStream);
  }

  /** 431 or 414, as an answer that a person can read. RFC 6585 §5, RFC 9110 §15.5.15. */
  #tooLarge(id: number, isEnd: boolean, status: number): void {
    this.refused('h2-header-limit', 'more header fields or bytes than allowed');
    this.#open(id, isEnd).respond({ status, headers: [], bodyBytes: 0 }, true);
    this.#connection.countReset();
  }

  #trailers(stream: Stream, isEnd: boolean, fields: MessageFields, result: number): void {
    const connection = this.#connection;
    if (stream.isRemoteEnded) return connection.refuseStream(stream, breach(ERROR.streamClosed, 'h2-stream-closed', 'HEADERS after END_STREAM'));
    if (!isEnd) return connection.refuseStream(stream, breach(ERROR.protocol, 'h2-malformed', 'trailers without END_STREAM'));
    if (result === DECODED.tooLarge) return connection.refuseStream(stream, breach(ERROR.enhanceYourCalm, 'h2-header-limit', 'more trailers than allowed'));
    const trailers = fields.trailers();
    if (trailers === undefined) return connection.refuseStream(stream, breach(ERROR.protocol, 'h2-malformed', fields.problem ?? ''));
    connection.endOf(stream, trailers);
  }

  settled(): void {
    // A server asks nothing of its peer's limits.
  }

  goaway(): void {
    // The client opens no more streams; those it has go on.
    if (this.#state === 'open') this.#state = 'draining';
    this.#sendLast();
  }

  ponged(): void {
    if (this.#state === 'draining') this.#sendLast();
  }

  #sendLast(): void {
    if (this.#state === 'last') return;
    this.#state = 'last';
    this.#finalId = this.#connection.streams.lastId;
    this.#connection.sender.goaway(this.#finalId, ERROR.none, '');
    this.#closeIfDone();
  }

  ended(): void {
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#state === 'last' && this.active === 0) this.#connection.close({ reason: 'closed', detail: 'drained' });
  }

  ticked(): void {
    const { ticks, readTick, isPinging } = this.#connection;
    if (this.#state === 'draining' && isPinging && ticks.now > this.#drainTick + 1) return this.#sendLast();
    if (this.#state === 'open' && this.active === 0 && ticks.msSince(readTick) > this.#limits.keepAliveMs) this.drain();
  }

  refused(code: Refusal, detail: string): void {
    this.#handlers.onRefused(code, detail);
  }

  closed(): void {
    const { onClose } = this;
    this.onClose = undefined;
    onClose?.();
  }
}
