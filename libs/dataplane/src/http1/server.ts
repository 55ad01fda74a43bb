// The server's end of an HTTP/1.1 connection: requests in, one after another, responses out in the same order.
import type { Clock } from '@isthmus/runtime';
import type { Abort, HeaderList, HttpLimits, ServerConnection, ServerHandlers } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import type { ChunkTaker } from './chunked.ts';
import { statusLine } from './encode.ts';
import type { ParsedRequest } from './head.ts';
import { dropGathered, flushGathered, sendText } from './outbox.ts';
import { RequestReader, type RequestTaker } from './request-reader.ts';
import { type Refusal, refusal } from './scan.ts';
import { type ExchangeOwner, Http1ServerExchange } from './server-exchange.ts';
import { TimeLimit, type TimeLimited } from './time-limit.ts';

/** What a server connection is given. */
export type Http1ServerOptions = {
  readonly limits: HttpLimits;
  readonly handlers: ServerHandlers;
  /** Handed on as `ServerExchange.peer`. */
  readonly peer: unknown;
  readonly scheme: 'http' | 'https';
  readonly clock: Clock;
  /** Bytes already read from the stream. */
  readonly first?: Buffer;
  /** Closes with a TCP reset, so that nobody takes half a response for a whole one; default: `destroy`. */
  readonly reset?: (stream: ByteStream) => void;
};

/**
 * Takes over an accepted stream and owns it from now on. Source: RFC 9110, RFC 9112.
 *
 * What is ambiguous is refused and the connection ends. CONNECT is refused with 405; of upgrades only `websocket` is
 * heard of. 100 Continue is sent by `inform` alone, never by the codec. A caller that ends its side before its response
 * is over has gone: its exchange is aborted. A request whose response ends first is read to its end where that is near,
 * else the connection ends.
 */
export function serveHttp1(stream: ByteStream, options: Http1ServerOptions): ServerConnection {
  return new Http1Server(stream, options);
}

/** How long a refused caller may still send before the connection goes: an answer sent into unread bytes would be lost. */
const LINGER_MS = 1_000;
const HEAD_TIMEOUT = refusal(408, 'head-timeout', 'the head did not come within the time limit');

class Http1Server implements ServerConnection, ExchangeOwner, RequestTaker, TimeLimited {
  readonly version = '1.1';
  onClose: (() => void) | undefined;
  readonly stream: ByteStream;
  readonly peer: unknown;
  draining = false;
  readonly #limits: HttpLimits;
  readonly #handlers: ServerHandlers;
  readonly #resetStream: ((stream: ByteStream) => void) | undefined;
  readonly #reader: RequestReader;
  readonly #limit: TimeLimit;
  /** Of the request whose turn it is; undefined between two. */
  #exchange: Http1ServerExchange | undefined;
  /** Of a body that nobody wants any more. */
  #discardedBytes = 0;

  constructor(stream: ByteStream, options: Http1ServerOptions) {
    const { limits, first } = options;
    this.stream = stream;
    this.peer = options.peer;
    this.#limits = limits;
    this.#handlers = options.handlers;
    this.#resetStream = options.reset;
    this.#limit = new TimeLimit(this, options.clock, limits.idleMs);
    this.#reader = new RequestReader(stream, this, limits, options.scheme);
    stream.lend?.();
    stream.on('error', this.#onError);
    stream.on('end', this.#onEnd);
    stream.on('close', this.#onClosed);
    stream.on('drain', this.#onDrain);
    this.#limit.set(limits.headMs);
    if (first !== undefined && first.length > 0) this.#onData(first);
    if (!this.#reader.isStopped || !stream.destroyed) stream.on('data', this.#onData);
    if (this.#reader.isPaused) stream.pause();
  }

  get active(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  drain(): void {
    this.draining = true;
    this.#closeIfDrained();
  }

  #closeIfDrained(): void {
    if (this.draining && this.#reader.isBetween) this.#close();
  }

  destroy(): void {
    this.stream.destroy();
    this.#gone({ reason: 'cancelled', detail: 'the connection was closed on this side' });
  }

  // ---- reading

  readonly #onData = (chunk: Buffer): void => {
    if (this.#reader.isStopped) return;
    try {
      this.#reader.read(chunk);
      if (this.draining) this.#closeIfDrained();
    } catch (error) {
      // A fault of the owner's costs this connection, not those beside it (reliability 68).
      this.stream.destroy();
      this.#gone({ reason: 'cancelled', detail: 'an internal error' });
      throw error;
    }
  };

  headBegan(): void {
    this.#limit.set(this.#limits.headMs);
  }

  began(parsed: ParsedRequest): void {
    const exchange = new Http1ServerExchange(this, parsed);
    this.#exchange = exchange;
    this.#discardedBytes = 0;
    this.#limit.clear();
    this.#handlers.onRequest(parsed.head, exchange);
  }

  /** The exchange's; this connection itself where the response has ended and only the rest of the request is to be read. */
  get bodyTaker(): ChunkTaker | undefined {
    const exchange = this.#exchange;
    if (exchange === undefined) return undefined;
    return exchange.sink ?? (exchange.ended && this.#reader.isInBody ? this : undefined);
  }

  /** Takes a body that nobody wants any more: so much of it as the limit allows. */
  data(chunk: Buffer): void {
    this.#discardedBytes += chunk.length;
    if (this.#reader.isInBody && this.#discardedBytes > this.#limits.bufferBytes) this.#close();
  }

  bodyEnded(trailers: HeaderList | undefined): void {
    const exchange = this.#exchange as Http1ServerExchange;
    const { sink } = exchange;
    exchange.requestEnded = true;
    exchange.sink = undefined;
    sink?.end(trailers);
    if (exchange.ended) this.#next();
  }

  /** The owner takes the body, or the bytes of the protocol switched to, from now on. */
  received(): void {
    this.#reader.goOn();
    if (this.draining) this.#closeIfDrained();
  }

  pauseBody(exchange: Http1ServerExchange): void {
    if (exchange === this.#exchange) this.#reader.pauseBody();
  }

  resumeBody(exchange: Http1ServerExchange): void {
    if (exchange === this.#exchange) this.#reader.resumeBody();
  }

  // ---- the exchange's end

  /** The response has been written whole. */
  responded(exchange: Http1ServerExchange): void {
    if (exchange !== this.#exchange) return;
    if (!exchange.keepAlive) return this.#close();
    if (exchange.requestEnded) this.#next();
    else if (exchange.sink === undefined) {
      this.#limit.set(this.#limits.keepAliveMs);
      this.received(); // reads the rest to nowhere
    }
  }

  #next(): void {
    this.#exchange = undefined;
    this.#reader.next();
    if (this.draining && this.#reader.isBetween) return this.#close();
    this.#limit.set(this.#limits.keepAliveMs);
    this.received();
  }

  /** From now on the bytes are another protocol's. */
  switched(): void {
    this.#reader.switch();
  }

  /** Cuts the connection off in the middle of a response. */
  cut(began: boolean): void {
    dropGathered(this.stream);
    if (began) (this.#resetStream ?? destroyStream)(this.stream);
    else this.stream.destroy();
    this.#gone({ reason: 'cancelled', detail: 'the exchange was cut off on this side' });
  }

  refused(why: Refusal): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return this.#refuse(why);
    this.#reader.stop();
    this.#exchange = undefined;
    const { began } = exchange;
    exchange.gone({ reason: 'protocol', detail: why.detail });
    if (!began) return this.#refuse(why);
    this.#handlers.onRefused(why.code, why.detail);
    this.cut(true);
  }

  #refuse(why: Refusal): void {
    this.#handlers.onRefused(why.code, why.detail);
    if (this.stream.destroyed) return;
    const body = `isthmus: ${why.detail}\n`;
    sendText(this.stream, `${statusLine(why.status)}content-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
    this.#close();
  }

  /** Ends our side, and lets the other end read it before the connection goes. */
  #close(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#reader.stop();
    flushGathered(this.stream);
    if (exchange?.sink !== undefined) exchange.gone({ reason: 'cancelled', detail: 'the response ended first' });
    if (this.stream.destroyed) return;
    this.stream.end();
    this.#reader.drainStream();
    this.#limit.set(LINGER_MS);
  }

  #gone(why: Abort): void {
    this.#reader.stop();
    this.#limit.stop();
    dropGathered(this.stream);
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.gone(why);
  }

  readonly #onError = (error: Error): void => {
    if (!this.#reader.isStopped) this.#gone({ reason: 'reset', detail: error.message });
  };

  readonly #onEnd = (): void => {
    if (this.#reader.isStopped) return void this.stream.destroy();
    const exchange = this.#exchange;
    if (this.#reader.isRaw && exchange !== undefined) {
      const { sink } = exchange;
      exchange.requestEnded = true;
      exchange.sink = undefined;
      sink?.end(undefined);
      if (exchange.ended) this.#close();
      return;
    }
    if (exchange?.began === true && !exchange.ended) (this.#resetStream ?? destroyStream)(this.stream);
    else this.stream.destroy();
    this.#gone({ reason: 'closed', detail: 'the caller closed the connection' });
  };

  readonly #onClosed = (): void => {
    this.#gone({ reason: 'closed', detail: 'the connection closed' });
    this.onClose?.();
  };

  readonly #onDrain = (): void => {
    this.#exchange?.onDrain?.();
  };

  // ---- time

  timedOut(): void {
    if (this.#reader.isStopped) return void this.stream.destroy();
    if (this.#reader.isInHead) return this.#refuse(HEAD_TIMEOUT);
    this.#close();
  }

  idled(): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return this.#close();
    this.#exchange = undefined;
    exchange.gone({ reason: 'timeout', detail: 'no byte moved within the idle limit' });
    this.cut(exchange.began);
  }
}

function destroyStream(stream: ByteStream): void {
  stream.destroy();
}
