// The connections requests come in on: each served in the version it speaks, all of them told when to go.
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { serveHttp1 } from '../http1/index.ts';
import { serveHttp2 } from '../http2/index.ts';
import type { Peer } from '../tls/judge.ts';
import type { ByteStream } from '../transport/transport.ts';
import { answer } from './answer.ts';
import type { HttpLimits, RequestHead, ServerConnection, ServerExchange, ServerHandlers } from './exchange.ts';
import { isGrpc } from './grpc.ts';
import type { Overload } from './overload.ts';

/** Who is at the other end of a connection: the `peer` of its exchanges. */
export class Caller {
  readonly version: '1.1' | '2';
  /** Undefined on a plain connection. */
  readonly peer: Peer | undefined;
  connection: ServerConnection | undefined;

  constructor(version: '1.1' | '2', peer: Peer | undefined) {
    this.version = version;
    this.peer = peer;
  }
}

export type FrontOptions = {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  readonly scheme: 'http' | 'https';
  readonly log: Log;
  readonly overload: Overload;
  readonly reset: (stream: ByteStream) => void;
  readonly onRequest: (head: RequestHead, exchange: ServerExchange, caller: Caller) => void;
  /** A codec refused something; `code` is from a closed set. */
  readonly onRefused: (code: string, detail: string) => void;
};

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** As much of the preface as no HTTP/1.1 request begins with. */
const TELLING_BYTES = 4;

/** **Owns** the connections it takes. An exception in a request's way costs that request (reliability 68). */
export class Front {
  readonly #options: FrontOptions;
  readonly #handlers: ServerHandlers;
  readonly #connections = new Set<ServerConnection>();
  #isDraining = false;
  /** Requests under way: counted by whoever serves them. */
  active = 0;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#handlers = { onRequest: (head, exchange) => this.#request(head, exchange), onRefused: options.onRefused };
  }

  /** Takes over a connection whose version ALPN has settled, or whose first bytes were looked at. */
  take(stream: ByteStream, version: '1.1' | '2', peer: Peer | undefined, first?: Buffer): void {
    const { limits, clock, scheme, reset } = this.#options;
    const caller = new Caller(version, peer);
    const options = { limits, clock, scheme, reset, handlers: this.#handlers, peer: caller, ...(first === undefined ? {} : { first }) };
    const connection = version === '2' ? serveHttp2(stream, options) : serveHttp1(stream, options);
    caller.connection = connection;
    if (stream.destroyed) return;
    this.#connections.add(connection);
    connection.onClose = () => this.#connections.delete(connection);
    if (this.#isDraining && (version === '2' || connection.active > 0)) connection.drain();
  }

  /**
   * Takes over a connection after a look at its first bytes: HTTP/2 by prior knowledge, or HTTP/1.1. One that says
   * nothing within the limit is closed. Source: RFC 9113 §3.3.
   */
  takeUnknown(stream: ByteStream, peer: Peer | undefined): void {
    let seen: Buffer | undefined;
    const onData = (chunk: Buffer): void => {
      seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
      const count = Math.min(seen.length, TELLING_BYTES);
      const isLikePreface = seen.compare(PREFACE, 0, count, 0, count) === 0;
      if (isLikePreface && count < TELLING_BYTES) return;
      stop();
      this.take(stream, isLikePreface ? '2' : '1.1', peer, seen);
    };
    const giveUp = (): void => {
      stop();
      stream.destroy();
    };
    const stop = (): void => {
      stream.off('data', onData);
      stream.off('end', giveUp);
      stream.off('timeout', giveUp);
      stream.off('error', giveUp);
      stream.setTimeout(0);
    };
    stream.on('end', giveUp);
    stream.on('timeout', giveUp);
    stream.on('error', giveUp);
    stream.setTimeout(this.#options.limits.headMs);
    stream.on('data', onData);
  }

  /** From now on an answer asks its caller to take another connection for the next request; HTTP/2 says so at once. */
  drain(): void {
    this.#isDraining = true;
    for (const connection of [...this.#connections]) if (connection.version === '2' || connection.active > 0) connection.drain();
  }

  /** Closes what is idle too. */
  drainIdle(): void {
    for (const connection of [...this.#connections]) connection.drain();
  }

  destroy(): void {
    for (const connection of [...this.#connections]) connection.destroy();
  }

  #request(head: RequestHead, exchange: ServerExchange): void {
    const { overload, log, onRequest } = this.#options;
    const caller = exchange.peer as Caller;
    try {
      const load = overload.load(this.active);
      if (this.#isDraining || load !== 'fine') caller.connection?.drain();
      if (load === 'full') return answer(exchange, head, { status: 503, reason: 'UO', text: 'overloaded' }, isGrpc(head.headers));
      onRequest(head, exchange, caller);
    } catch (error) {
      log.error('http request handler failed', { detail: messageOf(error) });
      exchange.abort({ reason: 'cancelled', detail: 'internal error' });
    }
  }
}
