// The server's end of an HTTP/1.1 connection: requests in, one after another, responses out in the same order.
import type { Clock } from '@isthmus/runtime';
import type { Abort, HeaderList, HttpLimits, ServerConnection, ServerHandlers } from '../http/exchange.ts';
import { isLent, kept } from '../transport/lent.ts';
import type { ByteStream } from '../transport/transport.ts';
import { appended, ChunkedDecoder } from './chunked.ts';
import { statusLine } from './encode.ts';
import { HeadParser, type ParsedRequest } from './head.ts';
import { latin1 } from './octets.ts';
import { dropGathered, flushGathered, sendText } from './outbox.ts';
import { MORE, REFUSED, type Refusal, refusal, SectionScanner } from './scan.ts';
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

const HEAD = 0;
const BODY = 1;
const ANSWER = 2; // the request is read, its response is not over
const RAW = 3;
const CLOSED = 4;

/** How long a refused caller may still send before the connection goes: an answer sent into unread bytes would be lost. */
const LINGER_MS = 1_000;
const HEAD_TIMEOUT = refusal(408, 'head-timeout', 'the head did not come within the time limit');

class Http1Server implements ServerConnection, ExchangeOwner, TimeLimited {
  readonly version = '1.1';
  onClose: (() => void) | undefined;
  readonly stream: ByteStream;
  readonly peer: unknown;
  readonly #limits: HttpLimits;
  readonly #handlers: ServerHandlers;
  readonly #scheme: 'http' | 'https';
  readonly #resetStream: ((stream: ByteStream) => void) | undefined;
  readonly #scanner: SectionScanner;
  readonly #parser: HeadParser;
  #chunked: ChunkedDecoder | undefined;
  #phase = HEAD;
  #exchange: Http1ServerExchange | undefined;
  #isChunked = false;
  #leftBytes = 0;
  /** Bytes read and not yet used: `[#at, #end)` of `#input`. */
  #input: Buffer | undefined;
  #at = 0;
  #end = 0;
  #running = false;
  #paused = false;
  #discarded = 0;
  readonly #limit: TimeLimit;
  draining = false;

  constructor(stream: ByteStream, options: Http1ServerOptions) {
    this.stream = stream;
    this.peer = options.peer;
    this.#limits = options.limits;
    this.#handlers = options.handlers;
    this.#scheme = options.scheme;
    this.#limit = new TimeLimit(this, options.clock, options.limits.idleMs);
    this.#resetStream = options.reset;
    this.#scanner = new SectionScanner(options.limits);
    this.#parser = new HeadParser(this.#scanner, options.limits.targetBytes);
    stream.lend?.();
    stream.on('error', this.#onError);
    stream.on('end', this.#onEnd);
    stream.on('close', this.#onClosed);
    stream.on('drain', this.#onDrain);
    this.#limit.set(options.limits.headMs);
    if (options.first !== undefined && options.first.length > 0) this.#onData(options.first);
    if (this.#phase !== CLOSED || !stream.destroyed) stream.on('data', this.#onData);
    if (this.#paused) stream.pause();
  }

  get active(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  drain(): void {
    this.draining = true;
    if (this.#phase === HEAD && this.#input === undefined) this.#close();
  }

  destroy(): void {
    this.stream.destroy();
    this.#gone({ reason: 'cancelled', detail: 'the connection was closed on this side' });
  }

  // ---- reading

  readonly #onData = (chunk: Buffer): void => {
    if (this.#phase === CLOSED) return;
    try {
      this.#take(chunk);
    } catch (error) {
      // A fault of the owner's costs this connection, not those beside it (reliability 68).
      this.stream.destroy();
      this.#gone({ reason: 'cancelled', detail: 'an internal error' });
      throw error;
    }
  };

  #take(chunk: Buffer): void {
    if (this.#input === undefined) this.#run(chunk, 0, chunk.length);
    else {
      const size = this.#end - this.#at;
      if (this.#at > 0) {
        this.#input = Buffer.concat([this.#input.subarray(this.#at, this.#end), chunk]);
        this.#at = 0;
        this.#end = this.#input.length;
        this.#run(this.#input, 0, this.#end);
      } else {
        const input = appended(this.#input, size, chunk, 0, chunk.length);
        this.#run(input, 0, size + chunk.length);
      }
    }
  }

  #run(bytes: Buffer, from: number, end: number): void {
    let at = from;
    this.#running = true;
    while (at < end) {
      if (this.#phase === HEAD) {
        const size = this.#scanner.scan(bytes, at, end);
        if (size === MORE) break;
        if (size === REFUSED) {
          this.#running = false;
          return this.#refuse(this.#scanner.refused);
        }
        const parsed = this.#parser.request(latin1(bytes, at, at + size), this.#scheme);
        if (parsed === undefined) {
          this.#running = false;
          return this.#refuse(this.#parser.refused);
        }
        at += size;
        this.#begin(parsed);
      } else if (this.#phase === BODY) {
        const next = this.#readBody(bytes, at, end);
        if (next === REFUSED) {
          this.#running = false;
          return this.#bodyRefused((this.#chunked as ChunkedDecoder).refused);
        }
        if (next === at && this.#phase === BODY) break;
        at = next;
      } else if (this.#phase === RAW) {
        const sink = this.#exchange?.sink;
        if (sink === undefined) break;
        sink.data(bytes.subarray(at, end));
        at = end;
      } else break;
    }
    this.#running = false;
    if (this.#phase === CLOSED) {
      this.#input = undefined;
      return;
    }
    this.#hold(bytes, at, end);
  }

  /** Keeps what could not be used yet, and stops reading where more of it would only pile up. */
  #hold(bytes: Buffer, at: number, end: number): void {
    if (at === end) {
      this.#input = undefined;
      this.#at = 0;
      this.#end = 0;
      if (this.#phase === HEAD) {
        if (this.draining) this.#close();
      }
      return;
    }
    if (this.#phase === HEAD) {
      // The bytes of an unfinished head are kept in a buffer of our own, with room to grow.
      if (bytes !== this.#input || at > 0) this.#input = appended(undefined, 0, bytes, at, end);
      this.#at = 0;
      this.#end = end - at;
      if (!this.#limit.isSet || !this.#inHead) {
        this.#inHead = true;
        this.#limit.set(this.#limits.headMs);
      }
      return;
    }
    if (isLent(bytes)) {
      this.#input = kept(bytes.subarray(at, end));
      this.#at = 0;
      this.#end = end - at;
    } else {
      this.#input = bytes;
      this.#at = at;
      this.#end = end;
    }
    this.#pause();
  }
  #inHead = true; // the first head's time runs from the connection's beginning

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.stream.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.stream.resume();
  }

  #begin(parsed: ParsedRequest): void {
    this.#inHead = false;
    const exchange = new Http1ServerExchange(this, parsed);
    this.#exchange = exchange;
    const { bodyBytes } = parsed.head;
    if (bodyBytes === 0) this.#phase = ANSWER;
    else {
      this.#phase = BODY;
      this.#isChunked = bodyBytes === undefined;
      this.#leftBytes = bodyBytes ?? 0;
      this.#discarded = 0;
      if (this.#isChunked) {
        this.#chunked ??= new ChunkedDecoder(this.#scanner, this.#parser);
        this.#chunked.reset();
      }
    }
    this.#scanner.reset(true);
    this.#limit.clear();
    this.#handlers.onRequest(parsed.head, exchange);
  }

  /** Where reading stopped; `at` itself if nobody takes the body yet. */
  #readBody(bytes: Buffer, at: number, end: number): number {
    const exchange = this.#exchange as Http1ServerExchange;
    const sink = exchange.sink;
    if (sink === undefined && !exchange.ended) return at;
    const taker = sink ?? this;
    let next: number;
    if (this.#isChunked) {
      const chunked = this.#chunked as ChunkedDecoder;
      next = chunked.decode(bytes, at, end, taker);
      if (next === REFUSED || this.#phase !== BODY) return next;
      if (chunked.done) this.#bodyEnded(exchange, chunked.trailers);
    } else {
      next = Math.min(end, at + this.#leftBytes);
      this.#leftBytes -= next - at;
      taker.data(at === 0 && next === bytes.length ? bytes : bytes.subarray(at, next));
      if (this.#phase === BODY && this.#leftBytes === 0) this.#bodyEnded(exchange, undefined);
    }
    return next;
  }

  /** Takes a body that nobody wants any more: so much of it as the limit allows. */
  data(chunk: Buffer): void {
    this.#discarded += chunk.length;
    if (this.#phase === BODY && this.#discarded > this.#limits.bufferBytes) this.#close();
  }

  #bodyEnded(exchange: Http1ServerExchange, trailers: HeaderList | undefined): void {
    this.#phase = ANSWER;
    this.#resume();
    this.#scanner.reset(true);
    const { sink } = exchange;
    exchange.requestEnded = true;
    exchange.sink = undefined;
    sink?.end(trailers);
    if (exchange.ended) this.#next();
  }

  /** The owner takes the body, or the bytes of the protocol switched to, from now on. */
  received(): void {
    if (this.#running) return;
    this.#continueInput();
  }

  #continueInput(): void {
    const input = this.#input;
    if (input === undefined) return this.#resume();
    const at = this.#at;
    const end = this.#end;
    this.#input = undefined;
    const wasPaused = this.#paused;
    this.#paused = false;
    this.#run(input, at, end);
    // Whoever took these bytes may have asked for a pause of its own.
    if (wasPaused && !this.#paused && !this.stream.destroyed) this.stream.resume();
  }

  pauseBody(exchange: Http1ServerExchange): void {
    if (exchange === this.#exchange && (this.#phase === BODY || this.#phase === RAW)) this.#pause();
  }

  resumeBody(exchange: Http1ServerExchange): void {
    if (exchange === this.#exchange && (this.#phase === BODY || this.#phase === RAW) && this.#input === undefined) this.#resume();
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
    this.#phase = HEAD;
    if (this.draining && this.#input === undefined && !this.#running) return this.#close();
    this.#limit.set(this.#limits.keepAliveMs);
    if (!this.#running) this.#continueInput();
  }

  /** From now on the bytes are another protocol's. */
  switched(): void {
    this.#phase = RAW;
  }

  /** Cuts the connection off in the middle of a response. */
  cut(began: boolean): void {
    dropGathered(this.stream);
    if (began) (this.#resetStream ?? destroyStream)(this.stream);
    else this.stream.destroy();
    this.#gone({ reason: 'cancelled', detail: 'the exchange was cut off on this side' });
  }

  #refuse(why: Refusal): void {
    this.#handlers.onRefused(why.code, why.detail);
    if (this.stream.destroyed) return;
    const body = `isthmus: ${why.detail}\n`;
    sendText(this.stream, `${statusLine(why.status)}content-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
    this.#close();
  }

  #bodyRefused(why: Refusal): void {
    const exchange = this.#exchange as Http1ServerExchange;
    this.#phase = CLOSED;
    const abort: Abort = { reason: 'protocol', detail: why.detail };
    const { began } = exchange;
    this.#exchange = undefined;
    exchange.gone(abort);
    if (!began) return this.#refuse(why);
    this.#handlers.onRefused(why.code, why.detail);
    this.cut(true);
  }

  /** Ends our side, and lets the other end read it before the connection goes. */
  #close(): void {
    const exchange = this.#exchange;
    this.#phase = CLOSED;
    this.#exchange = undefined;
    this.#input = undefined;
    this.#chunked?.stop();
    flushGathered(this.stream);
    if (exchange?.sink !== undefined) exchange.gone({ reason: 'cancelled', detail: 'the response ended first' });
    if (this.stream.destroyed) return;
    this.stream.end();
    this.#resume();
    this.#limit.set(LINGER_MS);
  }

  #gone(why: Abort): void {
    this.#phase = CLOSED;
    this.#chunked?.stop();
    this.#input = undefined;
    this.#limit.stop();
    dropGathered(this.stream);
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.gone(why);
  }

  readonly #onError = (error: Error): void => {
    if (this.#phase !== CLOSED) this.#gone({ reason: 'reset', detail: error.message });
  };

  readonly #onEnd = (): void => {
    if (this.#phase === CLOSED) return void this.stream.destroy();
    const exchange = this.#exchange;
    if (this.#phase === RAW && exchange !== undefined) {
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
    if (this.#phase === CLOSED) return void this.stream.destroy();
    if (this.#phase === HEAD && this.#input !== undefined) return this.#refuse(HEAD_TIMEOUT);
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
