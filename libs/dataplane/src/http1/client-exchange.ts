// One request and its response at the client's end of an HTTP/1.1 connection.
import type { Abort, ClientExchange, HeaderList, RequestHead, ResponseSink } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { lastChunk } from './encode.ts';
import { flushGathered, gatherBytes, gatherChunk, gatherText, sendText } from './outbox.ts';

/** What an exchange asks of its connection. */
export interface ExchangeOwner {
  readonly stream: ByteStream;
  pauseBody(exchange: Http1ClientExchange): void;
  resumeBody(exchange: Http1ClientExchange): void;
  flushed(exchange: Http1ClientExchange): void;
  cancelled(exchange: Http1ClientExchange): void;
}

/** See `ClientExchange`. */
export class Http1ClientExchange implements ClientExchange {
  readonly sink: ResponseSink;
  readonly method: string;
  readonly upgrade: string | undefined;
  requestEnded: boolean;
  /** The response has come whole. */
  over = false;
  switched = false;
  /** The sink hears nothing more, and nothing more is sent. */
  dead = false;
  sentBefore = 0;
  readonly #connection: ExchangeOwner;
  readonly #chunked: boolean;
  #leftBytes: number;
  #writes = 0;
  #writtenAtOnce = false;

  constructor(connection: ExchangeOwner, head: RequestHead, endsNow: boolean, sink: ResponseSink) {
    this.#connection = connection;
    this.sink = sink;
    this.method = head.method;
    this.upgrade = head.upgrade?.toLowerCase();
    this.requestEnded = endsNow;
    this.#chunked = head.bodyBytes === undefined;
    this.#leftBytes = head.bodyBytes ?? 0;
  }

  wrote(text: string): void {
    const { stream } = this.#connection;
    this.#writes += 1;
    sendText(stream, text);
    this.#writtenAtOnce = stream.writableLength === 0;
  }

  /** Whether it is certain that not one byte of the request reached the system. */
  nothingSent(error: Error | undefined): boolean {
    if (this.#connection.stream.bytesWritten === this.sentBefore) return true;
    // node:net counts what it offered: if the only write was refused outright, nothing of it went.
    return error !== undefined && this.#writes === 1 && this.#writtenAtOnce && 'syscall' in error && error.syscall === 'write';
  }

  pauseBody(): void {
    this.#connection.pauseBody(this);
  }

  resumeBody(): void {
    this.#connection.resumeBody(this);
  }

  write(chunk: Buffer): boolean {
    if (this.dead || chunk.length === 0) return true;
    const { stream } = this.#connection;
    if (this.switched) {
      gatherBytes(stream, chunk);
      return !stream.writableNeedDrain;
    }
    if (this.requestEnded) return true;
    if (this.#chunked) gatherChunk(stream, chunk);
    else {
      if (chunk.length > this.#leftBytes) {
        this.#broken('the request body is longer than its length');
        return true;
      }
      this.#leftBytes -= chunk.length;
      gatherBytes(stream, chunk);
    }
    this.#writes += 2;
    return !stream.writableNeedDrain;
  }

  end(trailers?: HeaderList): void {
    if (this.dead) return;
    const { stream } = this.#connection;
    if (this.switched) {
      this.requestEnded = true;
      flushGathered(stream);
      stream.end();
      return;
    }
    if (this.requestEnded) return;
    if (!this.#chunked && this.#leftBytes > 0) return this.#broken('the request body is shorter than its length');
    if (this.#chunked) {
      const last = lastChunk(trailers);
      if (last === undefined) return this.#broken('a trailer cannot be said in HTTP/1.1');
      gatherText(stream, last);
    }
    this.requestEnded = true;
    this.#writes += 1;
    flushGathered(stream);
    this.#connection.flushed(this);
  }

  abort(_why: Abort): void {
    if (this.dead) return;
    this.dead = true;
    this.#connection.cancelled(this);
  }

  /** What we were given to send cannot be sent: the request is cut off, never completed short. */
  #broken(detail: string): void {
    this.dead = true;
    this.#connection.cancelled(this);
    this.sink.abort({ reason: 'protocol', detail });
  }
}
