// The client's end: sends requests on a connection.
import type { Clock } from '@isthmus/runtime';
import type { ClientConnection, ClientExchange, HttpLimits, RequestHead, ResponseSink } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { Connection, type Side } from './connection.ts';
import { DECODED } from './hpack/decoder.ts';
import type { MessageFields } from './message.ts';
import { breach, ERROR, MAX_STREAM_ID, type Refusal } from './protocol.ts';
import { Stream } from './stream.ts';

/** What a client connection is given. */
export type OpenHttp2Options = {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /**
   * Asks by PING whether the other end is there when nothing came for so long while requests wait, and gives up after as long
   * again. Not set: never; some servers count PINGs.
   */
  readonly pingMs?: number;
  /** Hears why the other end was refused, as a server's handler does. */
  readonly onRefused?: (code: Refusal, detail: string) => void;
};

/** Speaks HTTP/2 as a client on a connected socket, which it owns from here on. **Source** RFC 9113. */
export function openHttp2(socket: ByteStream, options: OpenHttp2Options): ClientConnection {
  return new Client(socket, options);
}

/** Of a request that cannot be sent: no stream's, so that taking it back touches none. */
const NO_STREAM_ID = 0;

class Client implements ClientConnection, Side {
  readonly version = '2';
  onFree: (() => void) | undefined;
  onClose: (() => void) | undefined;
  readonly #options: OpenHttp2Options;
  readonly #connection: Connection;
  #nextId = 1;
  #isDraining = false;
  #pingTick = 0;

  constructor(socket: ByteStream, options: OpenHttp2Options) {
    this.#options = options;
    this.#connection = new Connection(socket, this, { limits: options.limits, clock: options.clock, isServer: false, peer: undefined });
    this.#connection.sender.preface();
    this.#connection.begin();
    socket.on('data', (chunk: Buffer) => this.#connection.read(chunk));
    socket.resume();
  }

  get active(): number {
    return this.#connection.streams.count;
  }

  get free(): number {
    const { isClosed, settings, streams } = this.#connection;
    if (this.#isDraining || isClosed || this.#nextId > MAX_STREAM_ID) return 0;
    return Math.max(0, Math.min(settings.streams, this.#options.limits.streams) - streams.count);
  }

  request(head: RequestHead, endsNow: boolean, sink: ResponseSink): ClientExchange {
    const connection = this.#connection;
    const problem = this.#problem(head);
    const stream = new Stream(connection, problem === undefined ? this.#nextId : NO_STREAM_ID);
    stream.response = sink;
    if (problem !== undefined) {
      stream.receive(sink);
      stream.isLocalEnded = true;
      // The caller has its exchange before the sink hears of the end.
      process.nextTick(() => stream.fail({ reason: 'not-sent', detail: problem }));
      return stream;
    }
    connection.streams.lastId = this.#nextId;
    this.#nextId += 2;
    stream.isHead = head.method === 'HEAD';
    stream.isTunnel = head.upgrade !== undefined;
    stream.receive(sink);
    connection.streams.add(stream);
    connection.sender.request(stream, head, endsNow);
    if (endsNow) stream.isLocalEnded = true;
    return stream;
  }

  #problem(head: RequestHead): string | undefined {
    if (this.#connection.isClosed) return 'the connection is closed';
    if (this.#nextId > MAX_STREAM_ID) return 'the connection has no stream left';
    return head.upgrade !== undefined && !this.#connection.settings.takesTunnels ? 'the other end takes no extended CONNECT' : undefined;
  }

  drain(): void {
    if (this.#isDraining || this.#connection.isClosed) return;
    this.#isDraining = true;
    this.#closeIfDone();
  }

  destroy(): void {
    this.#connection.destroy({ reason: 'closed', detail: 'destroyed here' });
  }

  block(id: number, stream: Stream | undefined, isEnd: boolean, fields: MessageFields, result: number): void {
    const connection = this.#connection;
    if (stream === undefined) {
      if (connection.streams.isIdle(id)) connection.fail(breach(ERROR.protocol, 'h2-protocol', 'HEADERS on a stream nobody opened'));
      else if (!connection.streams.wasReset(id)) connection.fail(breach(ERROR.streamClosed, 'h2-stream-closed', 'HEADERS on a closed stream'));
      return;
    }
    if (stream.isRemoteEnded) return connection.refuseStream(stream, breach(ERROR.streamClosed, 'h2-stream-closed', 'HEADERS after END_STREAM'));
    if (result === DECODED.tooLarge) return connection.refuseStream(stream, breach(ERROR.enhanceYourCalm, 'h2-header-limit', 'more header fields or bytes than allowed'));
    if (stream.hasResponse) return this.#trailers(stream, isEnd, fields);
    const head = fields.response(isEnd, stream.isHead);
    if (head === undefined) return connection.refuseStream(stream, breach(ERROR.protocol, 'h2-malformed', fields.problem ?? ''));
    const sink = stream.response as ResponseSink;
    if (head.status < 200) return sink.inform(head);
    stream.hasResponse = true;
    stream.movedTick = connection.ticks.now;
    const isSwitched = stream.isTunnel && head.status < 300;
    stream.isTunnel = isSwitched;
    if (head.bodyBytes !== undefined && !isEnd) stream.restBytes = stream.isHead ? 0 : head.bodyBytes;
    if (isSwitched) sink.switched(head);
    else sink.response(head, isEnd);
    if (!isEnd || stream.isGone) return;
    // Whoever takes a response that `endsNow` hears no `end` behind it.
    if (!isSwitched) stream.silence();
    stream.takeEnd(undefined);
    connection.settle(stream);
  }

  #trailers(stream: Stream, isEnd: boolean, fields: MessageFields): void {
    const connection = this.#connection;
    const trailers = isEnd ? fields.trailers() : undefined;
    if (trailers === undefined) return connection.refuseStream(stream, breach(ERROR.protocol, 'h2-malformed', fields.problem ?? 'trailers without END_STREAM'));
    connection.endOf(stream, trailers);
  }

  settled(): void {
    if (this.free > 0) this.onFree?.();
  }

  goaway(lastId: number, _code: number, detail: string): void {
    this.#isDraining = true;
    const connection = this.#connection;
    for (const stream of connection.streams.all()) {
      if (stream.id <= lastId || connection.streams.get(stream.id) === undefined) continue;
      connection.streams.noteReset(stream.id);
      connection.lose(stream, { reason: 'unprocessed', detail });
    }
    this.#closeIfDone();
  }

  ponged(): void {
    // That something came is all that counts; the tick sees it.
  }

  ended(): void {
    if (this.#isDraining) this.#closeIfDone();
    else if (!this.#connection.isClosed) this.onFree?.();
  }

  #closeIfDone(): void {
    if (this.active > 0 || this.#connection.isClosed) return;
    this.#connection.sender.goaway(0, ERROR.none, '');
    this.#connection.close({ reason: 'closed', detail: 'drained' });
  }

  ticked(): void {
    const { pingMs } = this.#options;
    const { ticks, readTick } = this.#connection;
    if (pingMs === undefined || this.active === 0) return;
    if (this.#connection.isPinging) {
      if (readTick <= this.#pingTick && ticks.msSince(this.#pingTick) > pingMs) this.#connection.destroy({ reason: 'timeout', detail: 'the other end does not answer' });
    } else if (ticks.msSince(readTick) > pingMs && this.#connection.ping()) this.#pingTick = ticks.now;
  }

  refused(code: Refusal, detail: string): void {
    this.#options.onRefused?.(code, detail);
  }

  closed(): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onFree = undefined;
    onClose?.();
  }
}
