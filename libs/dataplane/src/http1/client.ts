// The client's end of an HTTP/1.1 connection: one request at a time, its response read strictly.
import type { Clock } from '@isthmus/runtime';
import type { AbortReason, ClientConnection, ClientExchange, HeaderList, HttpLimits, RequestHead, ResponseHead, ResponseSink } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import type { ChunkTaker } from './chunked.ts';
import { type ExchangeOwner, Http1ClientExchange } from './client-exchange.ts';
import { requestText } from './encode.ts';
import { ExchangeLimit, type ExchangeLimited } from './exchange-limit.ts';
import type { ParsedResponse } from './head.ts';
import { dropGathered, gatherText } from './outbox.ts';
import { ResponseReader, type ResponseTaker } from './response-reader.ts';

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

class Http1Client implements ClientConnection, ExchangeOwner, ResponseTaker, ExchangeLimited {
  readonly version = '1.1';
  onFree: (() => void) | undefined;
  onClose: (() => void) | undefined;
  readonly stream: ByteStream;
  readonly #reader: ResponseReader;
  readonly #limit: ExchangeLimit;
  /** Until both its request and its response are over. */
  #exchange: Http1ClientExchange | undefined;
  #keepAlive = true;
  #isPaused = false;

  constructor(stream: ByteStream, options: Http1ClientOptions) {
    this.stream = stream;
    this.#reader = new ResponseReader(this, options.limits);
    this.#limit = new ExchangeLimit(this, options.clock, options.limits);
    stream.lend?.();
    stream.on('error', this.#onError);
    stream.on('end', this.#onEnd);
    stream.on('close', this.#onClosed);
    stream.on('drain', this.#onDrain);
    stream.on('data', this.#onData);
    if (stream.readableEnded) this.#close();
  }

  get free(): number {
    return this.#exchange === undefined && this.#keepAlive && !this.stream.destroyed ? 1 : 0;
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
    const text = requestText(head, endsNow);
    if (text === undefined) {
      exchange.dead = true;
      sink.abort({ reason: 'protocol', detail: 'the request cannot be said in HTTP/1.1' });
      return exchange;
    }
    this.#exchange = exchange;
    this.#reader.begin(exchange.method, exchange.upgrade);
    exchange.sentBefore = this.stream.bytesWritten;
    if (endsNow) exchange.wrote(text);
    else gatherText(this.stream, text);
    this.#limit.watch();
    return exchange;
  }

  drain(): void {
    this.#keepAlive = false;
    if (this.#exchange === undefined && !this.#reader.isStopped) this.#close();
  }

  destroy(): void {
    const reason = this.#exchange?.nothingSent(undefined) === true ? 'not-sent' : 'cancelled';
    this.stream.destroy();
    this.#gone(reason, 'the connection was closed on this side');
  }

  // ---- reading

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.#reader.read(chunk);
    } catch (error) {
      // A fault of the owner's costs this connection, not those beside it (reliability 68).
      this.stream.destroy();
      this.#gone('cancelled', 'an internal error');
      throw error;
    }
  };

  get isInHead(): boolean {
    return this.#reader.isInHead;
  }

  get bodyTaker(): ChunkTaker {
    return (this.#exchange as Http1ClientExchange).sink;
  }

  headBegan(): void {
    this.#limit.headBegan();
  }

  isAnswer(): boolean {
    if (this.#exchange?.nothingSent(undefined) !== true) return true;
    // It was under way before the request was.
    this.stream.destroy();
    this.#gone('not-sent', 'bytes before the request was sent');
    return false;
  }

  informed(head: ResponseHead): void {
    (this.#exchange as Http1ClientExchange).sink.inform(head);
  }

  switched(head: ResponseHead): void {
    const exchange = this.#exchange as Http1ClientExchange;
    this.#keepAlive = false;
    exchange.switched = true;
    exchange.requestEnded = false;
    exchange.sink.switched(head);
  }

  responded(parsed: ParsedResponse, endsNow: boolean, more: boolean): void {
    const exchange = this.#exchange as Http1ClientExchange;
    if (!parsed.keepAlive || more) this.#keepAlive = false;
    // A response that is whole is not touched by whatever happens to the connection now.
    exchange.over = endsNow;
    exchange.sink.response(parsed.head, endsNow);
    if (endsNow) this.#release(exchange);
  }

  bodyEnded(trailers: HeaderList | undefined, more: boolean): void {
    const exchange = this.#exchange as Http1ClientExchange;
    if (more) this.#keepAlive = false;
    exchange.over = true;
    exchange.sink.end(trailers);
    this.#release(exchange);
  }

  broken(detail: string): void {
    this.stream.destroy();
    this.#gone('protocol', detail);
  }

  // ---- the exchange's end

  /** Makes the connection free once both request and response are over. */
  #release(exchange: Http1ClientExchange): void {
    if (this.#exchange !== exchange || !this.#reader.isDone) return;
    if (!exchange.requestEnded) {
      // The rest of the request is of no use to a server that has answered, and without it the connection is of none.
      this.#keepAlive = false;
      exchange.dead = true;
    }
    this.#exchange = undefined;
    if (this.#isPaused) {
      this.#isPaused = false;
      this.stream.resume();
    }
    if (!this.#keepAlive) return this.#close();
    this.onFree?.();
  }

  #close(): void {
    this.#keepAlive = false;
    this.#reader.stop();
    this.#limit.stop();
    dropGathered(this.stream);
    this.stream.destroy();
  }

  #gone(reason: AbortReason, detail: string): void {
    this.#keepAlive = false;
    this.#reader.stop();
    this.#limit.stop();
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
    if (exchange !== this.#exchange || this.#isPaused || !this.#reader.canPause) return;
    this.#isPaused = true;
    this.stream.pause();
  }

  resumeBody(exchange: Http1ClientExchange): void {
    if (exchange !== this.#exchange || !this.#isPaused) return;
    this.#isPaused = false;
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
    if (exchange !== undefined && this.#reader.isUntilClose) {
      this.#keepAlive = false;
      this.#reader.endOfStream();
      this.stream.destroy();
      return;
    }
    if (exchange !== undefined && this.#reader.isRaw) {
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

  timedOut(detail: string): void {
    this.stream.destroy();
    this.#gone('timeout', detail);
  }
}
