// One request and its response at the server's end of an HTTP/1.1 connection.
import type { Abort, BodySink, HeaderList, ResponseHead, ServerExchange } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { fieldLines, lastChunk, statusLine } from './encode.ts';
import type { ParsedRequest } from './head.ts';
import { flushGathered, gatherBytes, gatherChunk, gatherText, sendText } from './outbox.ts';

/** What an exchange asks of its connection. */
export interface ExchangeOwner {
  readonly stream: ByteStream;
  readonly peer: unknown;
  /** This response is to be the last. */
  readonly draining: boolean;
  received(): void;
  pauseBody(exchange: Http1ServerExchange): void;
  resumeBody(exchange: Http1ServerExchange): void;
  responded(exchange: Http1ServerExchange): void;
  switched(): void;
  cut(began: boolean): void;
}

const NO_BODY = 0;
const LENGTH = 1;
const CHUNKED = 2;
const UNTIL_CLOSE = 3;
const BYTES = 4; // after a switch of protocols

/** See `ServerExchange`. */
export class Http1ServerExchange implements ServerExchange {
  onDrain: (() => void) | undefined;
  onAbort: ((why: Abort) => void) | undefined;
  sink: BodySink | undefined;
  /** The request has been read whole. */
  requestEnded: boolean;
  began = false;
  ended = false;
  keepAlive: boolean;
  readonly #connection: ExchangeOwner;
  readonly #head: boolean;
  readonly #old: boolean;
  #awaitsContinue: boolean;
  #framing = NO_BODY;
  #leftBytes = 0;
  #dead: Abort | undefined;

  constructor(connection: ExchangeOwner, parsed: ParsedRequest) {
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
    const lines = fieldLines(head.headers);
    if (lines !== undefined) sendText(this.#connection.stream, statusLine(head.status) + lines + '\r\n');
  }

  respond(head: ResponseHead, endsNow: boolean): void {
    if (this.began || this.#dead !== undefined) return;
    this.began = true;
    const { status, bodyBytes } = head;
    const connection = this.#connection;
    // A body that may or may not come cannot be told from the next request.
    if (connection.draining || (this.#awaitsContinue && !this.requestEnded)) this.keepAlive = false;
    const lines = fieldLines(head.headers);
    if (lines === undefined) return this.#broken('a field of the response cannot be said in HTTP/1.1');
    let text = statusLine(status) + lines;
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
      sendText(connection.stream, text);
      connection.responded(this);
    } else gatherText(connection.stream, text);
  }

  switchProtocols(head: ResponseHead): void {
    if (this.began || this.#dead !== undefined) return;
    this.began = true;
    this.keepAlive = false;
    this.#framing = BYTES;
    this.requestEnded = false;
    this.#connection.switched();
    const lines = fieldLines(head.headers);
    if (lines === undefined) return this.#broken('a field of the response cannot be said in HTTP/1.1');
    sendText(this.#connection.stream, statusLine(101) + lines + 'connection: upgrade\r\nupgrade: websocket\r\n\r\n');
  }

  write(chunk: Buffer): boolean {
    const { stream } = this.#connection;
    if (this.ended || this.#dead !== undefined || chunk.length === 0) return true;
    switch (this.#framing) {
      case LENGTH:
        if (chunk.length > this.#leftBytes) {
          this.#broken('the response body is longer than its length');
          return true;
        }
        this.#leftBytes -= chunk.length;
        gatherBytes(stream, chunk);
        break;
      case CHUNKED:
        gatherChunk(stream, chunk);
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
    if (this.#framing === LENGTH && this.#leftBytes > 0) return this.#broken('the response body is shorter than its length');
    if (this.#framing === CHUNKED) {
      const last = lastChunk(trailers);
      if (last === undefined) return this.#broken('a trailer cannot be said in HTTP/1.1');
      gatherText(stream, last);
    }
    this.ended = true;
    flushGathered(stream);
    if (this.#framing === BYTES && !this.requestEnded) stream.end();
    else this.#connection.responded(this);
  }

  abort(why: Abort): void {
    if (this.ended || this.#dead !== undefined) return;
    this.#dead = why;
    this.#connection.cut(this.began);
  }

  /** What we were given to send cannot be sent: the caller must not take what it got for a whole response. */
  #broken(detail: string): void {
    const { onAbort } = this;
    this.abort({ reason: 'protocol', detail });
    onAbort?.({ reason: 'protocol', detail });
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
