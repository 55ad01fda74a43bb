// The client's end of an HTTP/1.1 connection: one request at a time, its response read strictly.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { AbortReason, ClientConnection, ClientExchange, HeaderList, HttpLimits, RequestHead, ResponseSink } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { appended, ChunkedDecoder } from './chunked.ts';
import { type ExchangeOwner, Http1ClientExchange } from './client-exchange.ts';
import { requestText } from './encode.ts';
import { HeadParser, type ParsedResponse } from './head.ts';
import { latin1 } from './octets.ts';
import { dropGathered, gatherText } from './outbox.ts';
import { MORE, REFUSED, SectionScanner } from './scan.ts';

/** What a client connection is given. */
export type Http1ClientOptions = {
  readonly limits: HttpLimits;
  readonly clock: Clock;
};

/**
 * Takes over a connected stream and owns it from now on. Source: RFC 9110, RFC 9112.
 *
 * A request aborts with `not-sent` only where it is certain that none of it left; else `closed` (the other end closed),
 * `reset` (the connection broke) or `protocol` (the response is ambiguous, or the request cannot be said in HTTP/1.1).
 * After a byte too many, an early answer or a `Connection: close` the connection takes no further request.
 */
export function openHttp1(stream: ByteStream, options: Http1ClientOptions): ClientConnection {
  return new Http1Client(stream, options);
}

const IDLE = 0;
const HEAD = 1;
const BODY = 2;
const ANSWERED = 3; // the response is read, the request is not over
const RAW = 4;
const CLOSED = 5;

/** More 1xx responses than this before one response are an attack (reliability 62). */
const MAX_INFORMS = 32;

class Http1Client implements ClientConnection, ExchangeOwner {
  readonly version = '1.1';
  onFree: (() => void) | undefined;
  onClose: (() => void) | undefined;
  readonly stream: ByteStream;
  readonly #limits: HttpLimits;
  readonly #clock: Clock;
  readonly #scanner: SectionScanner;
  readonly #parser: HeadParser;
  #chunked: ChunkedDecoder | undefined;
  #phase = IDLE;
  #exchange: Http1ClientExchange | undefined;
  #keepAlive = true;
  #isChunked = false;
  #untilClose = false;
  #leftBytes = 0;
  #informs = 0;
  /** An unfinished head: the first `#size` octets of `#input`. */
  #input: Buffer | undefined;
  #size = 0;
  #paused = false;
  #timer: TimerHandle | undefined;
  #movedBytes = -1;
  #headAtMs = 0;

  constructor(stream: ByteStream, options: Http1ClientOptions) {
    this.stream = stream;
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#scanner = new SectionScanner(options.limits);
    this.#parser = new HeadParser(this.#scanner, options.limits.targetBytes);
    stream.lend?.();
    stream.on('error', this.#onError);
    stream.on('end', this.#onEnd);
    stream.on('close', this.#onClosed);
    stream.on('drain', this.#onDrain);
    stream.on('data', this.#onData);
    if (stream.readableEnded) this.#close();
  }

  get free(): number {
    return this.#phase === IDLE && this.#keepAlive && !this.stream.destroyed ? 1 : 0;
  }

  get active(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  request(head: RequestHead, endsNow: boolean, sink: ResponseSink): ClientExchange {
    const exchange = new Http1ClientExchange(this, head, endsNow, sink);
    if (this.free === 0) {
      exchange.dead = true;
      sink.abort({ reason: 'not-sent', detail: 'the connection takes no request' });
      return exchange;
    }
    this.#exchange = exchange;
    this.#phase = HEAD;
    this.#informs = 0;
    this.#scanner.reset(true);
    exchange.sentBefore = this.stream.bytesWritten;
    const text = requestText(head, endsNow);
    if (text === undefined) {
      this.#exchange = undefined;
      this.#phase = IDLE;
      exchange.dead = true;
      sink.abort({ reason: 'protocol', detail: 'the request cannot be said in HTTP/1.1' });
      return exchange;
    }
    if (endsNow) exchange.wrote(text);
    else gatherText(this.stream, text);
    if (this.#timer === undefined) this.#tick();
    return exchange;
  }

  drain(): void {
    this.#keepAlive = false;
    if (this.#phase === IDLE) this.#close();
  }

  destroy(): void {
    const reason = this.#exchange?.nothingSent(undefined) === true ? 'not-sent' : 'cancelled';
    this.stream.destroy();
    this.#gone(reason, 'the connection was closed on this side');
  }

  // ---- reading

  readonly #onData = (chunk: Buffer): void => {
    try {
      if (this.#input === undefined) this.#run(chunk, 0, chunk.length);
      else this.#run(appended(this.#input, this.#size, chunk, 0, chunk.length), 0, this.#size + chunk.length);
    } catch (error) {
      // A fault of the owner's costs this connection, not those beside it (reliability 68).
      this.stream.destroy();
      this.#gone('cancelled', 'an internal error');
      throw error;
    }
  };

  #run(bytes: Buffer, from: number, end: number): void {
    let at = from;
    while (at < end) {
      if (this.#phase === HEAD) {
        const size = this.#scanner.scan(bytes, at, end);
        if (size === MORE) {
          if (this.#input === undefined || at > 0) {
            this.#input = appended(undefined, 0, bytes, at, end);
            this.#headAtMs = this.#clock.monotonicMs();
          } else this.#input = bytes;
          this.#size = end - at;
          return;
        }
        if (size === REFUSED) return this.#protocolError(this.#scanner.refused.detail);
        const exchange = this.#exchange as Http1ClientExchange;
        if (exchange.nothingSent(undefined)) {
          // An answer to nothing: it was under way before the request was.
          this.stream.destroy();
          return this.#gone('not-sent', 'bytes before the request was sent');
        }
        const parsed = this.#parser.response(latin1(bytes, at, at + size), exchange.method);
        if (parsed === undefined) return this.#protocolError(this.#parser.refused.detail);
        at += size;
        this.#input = undefined;
        this.#scanner.reset(true);
        if (parsed.head.status < 200) {
          if (!this.#informed(exchange, parsed)) return;
        } else this.#responded(exchange, parsed, at < end);
      } else if (this.#phase === BODY) {
        const exchange = this.#exchange as Http1ClientExchange;
        if (this.#isChunked) {
          const chunked = this.#chunked as ChunkedDecoder;
          const next = chunked.decode(bytes, at, end, exchange.sink);
          if (next === REFUSED) return this.#protocolError(chunked.refused.detail);
          at = next;
          if (this.#phase === BODY && chunked.done) this.#bodyEnded(exchange, chunked.trailers, at < end);
        } else {
          const next = this.#untilClose ? end : Math.min(end, at + this.#leftBytes);
          this.#leftBytes -= next - at;
          const part = at === 0 && next === bytes.length ? bytes : bytes.subarray(at, next);
          at = next;
          exchange.sink.data(part);
          if (this.#phase === BODY && this.#leftBytes === 0 && !this.#untilClose) this.#bodyEnded(exchange, undefined, at < end);
        }
      } else if (this.#phase === RAW) {
        (this.#exchange as Http1ClientExchange).sink.data(bytes.subarray(at, end));
        return;
      } else {
        // Nobody asked for these bytes: whoever got them next would get another's answer (reliability 62).
        if (this.#phase !== CLOSED) this.#protocolError('bytes after the response');
        return;
      }
    }
  }

  /** False: the connection is given up. */
  #informed(exchange: Http1ClientExchange, parsed: ParsedResponse): boolean {
    if (parsed.head.status === 101) {
      if (exchange.upgrade === undefined || parsed.upgrade?.toLowerCase() !== exchange.upgrade) {
        this.#protocolError('a switch of protocols that was not asked for');
        return false;
      }
      this.#phase = RAW;
      this.#keepAlive = false;
      exchange.switched = true;
      exchange.requestEnded = false;
      exchange.sink.switched(parsed.head);
      return this.#exchange === exchange;
    }
    if (++this.#informs > MAX_INFORMS) {
      this.#protocolError('too many interim responses');
      return false;
    }
    exchange.sink.inform(parsed.head);
    return this.#exchange === exchange;
  }

  #responded(exchange: Http1ClientExchange, parsed: ParsedResponse, more: boolean): void {
    if (!parsed.keepAlive) this.#keepAlive = false;
    const { bodyBytes } = parsed.head;
    const bodyless = exchange.method === 'HEAD' || parsed.head.status === 304 || parsed.head.status === 204;
    exchange.answered = true;
    if (bodyless || (bodyBytes === 0 && !parsed.untilClose)) {
      if (more) this.#keepAlive = false;
      this.#responseOver(exchange);
      exchange.sink.response(parsed.head, true);
      this.#release(exchange);
      return;
    }
    this.#phase = BODY;
    this.#isChunked = parsed.chunked;
    this.#untilClose = parsed.untilClose;
    this.#leftBytes = bodyBytes ?? 0;
    if (this.#isChunked) {
      this.#chunked ??= new ChunkedDecoder(this.#scanner, this.#parser);
      this.#chunked.reset();
    }
    exchange.sink.response(parsed.head, false);
  }

  #bodyEnded(exchange: Http1ClientExchange, trailers: HeaderList | undefined, extra: boolean): void {
    if (extra) this.#keepAlive = false;
    this.#scanner.reset(true);
    this.#responseOver(exchange);
    exchange.sink.end(trailers);
    this.#release(exchange);
  }

  /** The response is whole: whatever happens to the connection now does not touch it. */
  #responseOver(exchange: Http1ClientExchange): void {
    this.#phase = ANSWERED;
    exchange.over = true;
  }

  /** Makes the connection free once both request and response are over. */
  #release(exchange: Http1ClientExchange): void {
    if (this.#exchange !== exchange || this.#phase !== ANSWERED) return;
    if (!exchange.requestEnded) {
      // The rest of the request is of no use to a server that has answered, and without it the connection is of none.
      this.#keepAlive = false;
      exchange.dead = true;
    }
    this.#exchange = undefined;
    if (this.#paused) {
      this.#paused = false;
      this.stream.resume();
    }
    if (!this.#keepAlive) return this.#close();
    this.#phase = IDLE;
    this.onFree?.();
  }

  #protocolError(detail: string): void {
    this.stream.destroy();
    this.#gone('protocol', detail);
  }

  #close(): void {
    this.#phase = CLOSED;
    this.#keepAlive = false;
    this.#chunked?.stop();
    this.#stopTimer();
    dropGathered(this.stream);
    this.stream.destroy();
  }

  #gone(reason: AbortReason, detail: string): void {
    this.#phase = CLOSED;
    this.#keepAlive = false;
    this.#input = undefined;
    this.#chunked?.stop();
    this.#stopTimer();
    dropGathered(this.stream);
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange === undefined || exchange.dead) return;
    exchange.dead = true;
    if (!exchange.over) exchange.sink.abort({ reason, detail });
  }

  // ---- writing

  flushed(exchange: Http1ClientExchange): void {
    if (exchange === this.#exchange && exchange.over) this.#release(exchange);
  }

  cancelled(exchange: Http1ClientExchange): void {
    if (exchange !== this.#exchange) return;
    this.#exchange = undefined;
    this.#close();
  }

  pauseBody(exchange: Http1ClientExchange): void {
    if (exchange !== this.#exchange || this.#paused || (this.#phase !== BODY && this.#phase !== RAW)) return;
    this.#paused = true;
    this.stream.pause();
  }

  resumeBody(exchange: Http1ClientExchange): void {
    if (exchange !== this.#exchange || !this.#paused) return;
    this.#paused = false;
    this.stream.resume();
  }

  // ---- the connection's end

  readonly #onError = (error: Error): void => {
    const exchange = this.#exchange;
    if (exchange !== undefined && exchange.nothingSent(error)) return this.#gone('not-sent', error.message);
    this.#gone('reset', error.message);
  };

  readonly #onEnd = (): void => {
    const exchange = this.#exchange;
    if (exchange !== undefined && this.#phase === BODY && this.#untilClose) {
      this.#keepAlive = false;
      this.#bodyEnded(exchange, undefined, false);
      this.stream.destroy();
      return;
    }
    if (exchange !== undefined && this.#phase === RAW) {
      exchange.over = true;
      exchange.sink.end(undefined);
      if (exchange.requestEnded) {
        this.#exchange = undefined;
        this.#close();
      }
      return;
    }
    const nothing = exchange !== undefined && exchange.nothingSent(undefined);
    this.stream.destroy();
    this.#gone(nothing ? 'not-sent' : 'closed', 'the other end closed the connection');
  };

  readonly #onClosed = (): void => {
    const exchange = this.#exchange;
    this.#gone(exchange !== undefined && exchange.nothingSent(undefined) ? 'not-sent' : 'closed', 'the connection closed');
    this.onClose?.();
  };

  readonly #onDrain = (): void => {
    const exchange = this.#exchange;
    if (exchange !== undefined && !exchange.dead) exchange.sink.drain();
  };

  // ---- time

  /** One coarse timer while the connection lives: a head that does not end, a body that does not move. */
  #tick(): void {
    this.#timer = this.#clock.setTimer(Math.min(this.#limits.headMs, this.#limits.idleMs), this.#onTimer);
  }

  #idleSinceMs = 0;
  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    if (this.#exchange !== undefined) {
      if (this.#input !== undefined && nowMs - this.#headAtMs >= this.#limits.headMs) return this.#timedOut('the response head did not come whole within the time limit');
      const moved = this.stream.bytesRead + this.stream.bytesWritten;
      if (moved !== this.#movedBytes) {
        this.#movedBytes = moved;
        this.#idleSinceMs = nowMs;
      } else if (nowMs - this.#idleSinceMs >= this.#limits.idleMs) return this.#timedOut('no byte moved within the idle limit');
    } else {
      this.#movedBytes = -1;
      return; // started again by the next request
    }
    this.#tick();
  };

  #timedOut(detail: string): void {
    this.stream.destroy();
    this.#gone('timeout', detail);
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
