// The server's end of an HTTP/1.1 connection: requests in, one after another, responses out in the same order.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { Abort, BodySink, HeaderList, HttpLimits, ResponseHead, ServerConnection, ServerExchange, ServerHandlers } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { appended, ChunkedDecoder } from './chunked.ts';
import { fieldLines, statusLine } from './encode.ts';
import { HeadParser, type ParsedRequest } from './head.ts';
import { latin1 } from './octets.ts';
import { dropGathered, flushGathered, gatherBytes, gatherText } from './outbox.ts';
import { MORE, REFUSED, type Refusal, refusal, SectionScanner } from './scan.ts';

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

/** Takes over an accepted stream and owns it from now on. */
export function serveHttp1(stream: ByteStream, options: Http1ServerOptions): ServerConnection {
  return new Http1Server(stream, options);
}

const HEAD = 0;
const BODY = 1;
const ANSWER = 2; // the request is read, its response is not over
const RAW = 3;
const CLOSED = 4;

const UNSET = Number.POSITIVE_INFINITY;
/** How long a refused caller may still send before the connection goes: an answer sent into unread bytes would be lost. */
const LINGER_MS = 1_000;
const HEAD_TIMEOUT = refusal(408, 'head-timeout', 'the head did not come within the time limit');

class Http1Server implements ServerConnection {
  readonly version = '1.1';
  onClose: (() => void) | undefined;
  readonly stream: ByteStream;
  readonly peer: unknown;
  readonly #limits: HttpLimits;
  readonly #handlers: ServerHandlers;
  readonly #scheme: 'http' | 'https';
  readonly #clock: Clock;
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
  #timer: TimerHandle | undefined;
  #timerAtMs = UNSET;
  #deadlineMs = UNSET;
  #movedBytes = -1;
  draining = false;

  constructor(stream: ByteStream, options: Http1ServerOptions) {
    this.stream = stream;
    this.peer = options.peer;
    this.#limits = options.limits;
    this.#handlers = options.handlers;
    this.#scheme = options.scheme;
    this.#clock = options.clock;
    this.#resetStream = options.reset;
    this.#scanner = new SectionScanner(options.limits);
    this.#parser = new HeadParser(this.#scanner, options.limits.targetBytes);
    stream.on('error', this.#onError);
    stream.on('end', this.#onEnd);
    stream.on('close', this.#onClosed);
    stream.on('drain', this.#onDrain);
    this.#deadline(options.limits.headMs);
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
  };

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
      if (this.#deadlineMs === UNSET || !this.#inHead) {
        this.#inHead = true;
        this.#deadline(this.#limits.headMs);
      }
      return;
    }
    this.#input = bytes;
    this.#at = at;
    this.#end = end;
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
    this.#deadlineMs = UNSET;
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
    if (this.#discarded > this.#limits.bufferBytes) this.#close();
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
    this.#run(input, at, end);
    if (this.#input === undefined && this.#phase !== CLOSED) this.#resume();
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
    else if (exchange.sink === undefined) this.received(); // reads the rest to nowhere
  }

  #next(): void {
    this.#exchange = undefined;
    this.#phase = HEAD;
    if (this.draining && this.#input === undefined && !this.#running) return this.#close();
    this.#deadline(this.#limits.keepAliveMs);
    if (!this.#running) this.#continueInput();
  }

  switched(): void {
    this.#phase = RAW;
    (this.#exchange as Http1ServerExchange).requestEnded = false;
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
    this.stream.write(`${statusLine(why.status)}content-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body.replaceAll('§', '\xa7')}`, 'latin1');
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
    flushGathered(this.stream);
    if (exchange?.sink !== undefined) exchange.gone({ reason: 'cancelled', detail: 'the response ended first' });
    if (this.stream.destroyed) return;
    this.stream.end();
    this.#resume();
    this.#deadline(LINGER_MS);
  }

  #gone(why: Abort): void {
    this.#phase = CLOSED;
    this.#input = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
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

  /** One timer for the connection, moved only when it fires or must fire sooner. */
  #deadline(inMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#deadlineMs = nowMs + inMs;
    if (this.#timer !== undefined && this.#timerAtMs <= this.#deadlineMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = this.#deadlineMs;
    this.#timer = this.#clock.setTimer(inMs, this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    if (this.stream.destroyed) return;
    const nowMs = this.#clock.monotonicMs();
    if (this.#deadlineMs !== UNSET && this.#deadlineMs <= nowMs) return this.#timedOut();
    const inMs = this.#deadlineMs === UNSET ? this.#limits.idleMs : this.#deadlineMs - nowMs;
    if (this.#deadlineMs === UNSET) {
      const moved = this.stream.bytesRead + this.stream.bytesWritten;
      if (moved === this.#movedBytes) return this.#idled();
      this.#movedBytes = moved;
    }
    this.#timerAtMs = nowMs + inMs;
    this.#timer = this.#clock.setTimer(inMs, this.#onTimer);
  };

  #timedOut(): void {
    this.#deadlineMs = UNSET;
    if (this.#phase === CLOSED) return void this.stream.destroy();
    if (this.#input !== undefined) return this.#refuse(HEAD_TIMEOUT);
    this.#close();
  }

  #idled(): void {
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

const NO_BODY = 0;
const LENGTH = 1;
const CHUNKED = 2;
const UNTIL_CLOSE = 3;
const BYTES = 4; // after a switch of protocols

class Http1ServerExchange implements ServerExchange {
  onDrain: (() => void) | undefined;
  onAbort: ((why: Abort) => void) | undefined;
  sink: BodySink | undefined;
  /** The request has been read whole. */
  requestEnded: boolean;
  began = false;
  ended = false;
  keepAlive: boolean;
  readonly #connection: Http1Server;
  readonly #head: boolean;
  readonly #old: boolean;
  #awaitsContinue: boolean;
  #framing = NO_BODY;
  #leftBytes = 0;
  #dead: Abort | undefined;

  constructor(connection: Http1Server, parsed: ParsedRequest) {
    this.#connection = connection;
    this.#head = parsed.head.method === 'HEAD';
    this.#old = parsed.old;
    this.#awaitsContinue = parsed.head.expectsContinue;
    this.keepAlive = parsed.keepAlive;
    this.requestEnded = parsed.head.bodyBytes === 0;
  }

  get peer(): unknown {
    return this.#connection.peer;
  }

  receive(sink: BodySink): void {
    if (this.#dead !== undefined) return sink.abort(this.#dead);
    if (this.requestEnded) return sink.end(undefined);
    this.sink = sink;
    this.#connection.received();
  }

  pauseBody(): void {
    this.#connection.pauseBody(this);
  }

  resumeBody(): void {
    this.#connection.resumeBody(this);
  }

  inform(head: ResponseHead): void {
    if (this.began || this.#dead !== undefined || this.#old || head.status === 101) return;
    if (head.status === 100) this.#awaitsContinue = false;
    this.#connection.stream.write(statusLine(head.status) + fieldLines(head.headers) + '\r\n', 'latin1');
  }

  respond(head: ResponseHead, endsNow: boolean): void {
    if (this.began || this.#dead !== undefined) return;
    this.began = true;
    const { status, bodyBytes } = head;
    const connection = this.#connection;
    // A body that may or may not come cannot be told from the next request.
    if (connection.draining || (this.#awaitsContinue && !this.requestEnded)) this.keepAlive = false;
    let text = statusLine(status) + fieldLines(head.headers);
    const bodyless = this.#head || status === 204 || status === 304;
    if (bodyless) {
      if (bodyBytes !== undefined && status !== 204 && (this.#head || bodyBytes > 0)) text += 'content-length: ' + bodyBytes + '\r\n';
    } else if (endsNow) text += 'content-length: 0\r\n';
    else if (bodyBytes !== undefined) {
      this.#framing = LENGTH;
      this.#leftBytes = bodyBytes;
      text += 'content-length: ' + bodyBytes + '\r\n';
    } else if (this.#old) {
      this.#framing = UNTIL_CLOSE;
      this.keepAlive = false;
    } else {
      this.#framing = CHUNKED;
      text += 'transfer-encoding: chunked\r\n';
    }
    text += this.keepAlive ? '\r\n' : 'connection: close\r\n\r\n';
    if (endsNow) {
      this.ended = true;
      connection.stream.write(text, 'latin1');
      connection.responded(this);
    } else gatherText(connection.stream, text);
  }

  switchProtocols(head: ResponseHead): void {
    if (this.began || this.#dead !== undefined) return;
    this.began = true;
    this.keepAlive = false;
    this.#framing = BYTES;
    this.#connection.switched();
    this.requestEnded = false;
    const protocol = 'websocket';
    this.#connection.stream.write(statusLine(101) + fieldLines(head.headers) + 'connection: upgrade\r\nupgrade: ' + protocol + '\r\n\r\n', 'latin1');
  }

  write(chunk: Buffer): boolean {
    const { stream } = this.#connection;
    if (this.ended || this.#dead !== undefined || chunk.length === 0) return true;
    switch (this.#framing) {
      case LENGTH:
        if (chunk.length > this.#leftBytes) {
          this.abort({ reason: 'protocol', detail: 'the response body is longer than its length' });
          return true;
        }
        this.#leftBytes -= chunk.length;
        gatherBytes(stream, chunk);
        break;
      case CHUNKED:
        gatherText(stream, chunk.length.toString(16) + '\r\n');
        gatherBytes(stream, chunk);
        gatherText(stream, '\r\n');
        break;
      case NO_BODY:
        return true;
      default:
        gatherBytes(stream, chunk);
    }
    return !stream.writableNeedDrain;
  }

  end(trailers?: HeaderList): void {
    if (this.ended || this.#dead !== undefined || !this.began) return;
    const { stream } = this.#connection;
    if (this.#framing === LENGTH && this.#leftBytes > 0) return this.abort({ reason: 'protocol', detail: 'the response body is shorter than its length' });
    if (this.#framing === CHUNKED) gatherText(stream, trailers === undefined || trailers.length === 0 ? '0\r\n\r\n' : '0\r\n' + fieldLines(trailers) + '\r\n');
    this.ended = true;
    flushGathered(stream);
    if (this.#framing === BYTES && !this.requestEnded) stream.end();
    else this.#connection.responded(this);
  }

  abort(_why: Abort): void {
    if (this.ended || this.#dead !== undefined) return;
    this.#dead = _why;
    this.onAbort = undefined;
    this.#connection.cut(this.began);
  }

  /** The connection went away. */
  gone(why: Abort): void {
    const first = this.#dead === undefined;
    this.#dead ??= why;
    const { sink } = this;
    this.sink = undefined;
    sink?.abort(why);
    if (first && !this.ended) this.onAbort?.(why);
  }
}
