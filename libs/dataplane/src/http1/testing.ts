// A relay from server connections to one pool of client connections, without routes or policy: for tests of the codec.
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { systemClock } from '@isthmus/runtime';
import type { Abort, BodySink, ClientConnection, ClientExchange, HeaderList, HttpLimits, RequestHead, ResponseHead, ResponseSink, ServerExchange } from '../http/exchange.ts';
import type { EngineKind } from '../engine/engine.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { portableTransport } from '../transport/portable.ts';
import type { ByteStream, Transport } from '../transport/transport.ts';
import type { ListenAddress } from '../proxy/listen.ts';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { openHttp1 } from './client.ts';
import { serveHttp1 } from './server.ts';
import { keepRequestsYoung } from '../worker/young.ts';

/** Connections to one origin that take requests; opened as needed. */
export class TestPool {
  readonly #open: () => Promise<ClientConnection>;
  readonly #idle: ClientConnection[] = [];
  readonly all = new Set<ClientConnection>();

  constructor(open: () => Promise<ClientConnection>) {
    this.#open = open;
  }

  take(give: (connection: ClientConnection) => void, fail: (error: unknown) => void): void {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) if (idle.free > 0) return give(idle);
    this.#open().then((connection) => {
      this.all.add(connection);
      connection.onFree = () => void this.#idle.push(connection);
      connection.onClose = () => void this.all.delete(connection);
      give(connection);
    }, fail);
  }

  close(): void {
    for (const connection of this.all) connection.destroy();
  }
}

/** Passes one request on to a connection of the pool and its response back. */
export function relayRequest(head: RequestHead, exchange: ServerExchange, pool: TestPool): void {
  const relay = new Relay(head, exchange);
  pool.take(relay.begin, relay.failed);
}

class Relay implements ResponseSink, BodySink {
  readonly #head: RequestHead;
  readonly #caller: ServerExchange;
  #origin: ClientExchange | undefined;
  #callerGone = false;
  #began = false;
  #over = false;
  readonly #body: BodySink;

  constructor(head: RequestHead, caller: ServerExchange) {
    this.#head = head;
    this.#caller = caller;
    this.#body = {
      data: (chunk) => {
        if (this.#origin?.write(chunk) === false) caller.pauseBody();
      },
      end: (trailers) => this.#origin?.end(trailers),
      abort: (why) => this.#origin?.abort(why),
    };
    caller.onAbort = (why) => {
      this.#callerGone = true;
      this.#origin?.abort(why);
    };
  }

  readonly begin = (connection: ClientConnection): void => {
    if (this.#callerGone) return;
    const endsNow = this.#head.bodyBytes === 0;
    this.#caller.onDrain = this.#resume;
    this.#origin = connection.request(this.#head, endsNow, this);
    if (!endsNow && !this.#over) this.#caller.receive(this.#body);
  };

  readonly #resume = (): void => this.#origin?.resumeBody();

  readonly failed = (): void => this.abort({ reason: 'not-sent', detail: 'no connection' });

  inform(head: ResponseHead): void {
    this.#caller.inform(head);
  }

  response(head: ResponseHead, endsNow: boolean): void {
    this.#began = true;
    this.#over = endsNow;
    this.#caller.respond(head, endsNow);
  }

  switched(head: ResponseHead): void {
    this.#began = true;
    this.#caller.switchProtocols(head);
    this.#caller.receive(this.#body);
  }

  data(chunk: Buffer): void {
    if (!this.#caller.write(chunk)) this.#origin?.pauseBody();
  }

  end(trailers: HeaderList | undefined): void {
    this.#over = true;
    this.#caller.end(trailers);
  }

  abort(why: Abort): void {
    this.#over = true;
    if (this.#began) this.#caller.abort(why);
    else this.#caller.respond({ status: 502, headers: ['x-abort', `${why.reason}`], bodyBytes: 0 }, true);
  }

  drain(): void {
    this.#caller.resumeBody();
  }
}

/** Relays HTTP/1.1 from a port to an origin on the best engine there is, on this thread, set up as one that carries traffic: what the codec costs by itself. */
export async function startPlainRelay(listen: ListenAddress, origin: ListenAddress): Promise<{ readonly engine: EngineKind; readonly port: number }> {
  keepRequestsYoung();
  const transport = process.platform === 'linux' ? linuxTransport(new Loop((error) => process.emitWarning(String(error)), { turnsInARow: 8 })) : portableTransport();
  const { clock, reset } = transport;
  const pool = new TestPool(async () => openHttp1(await transport.dial({ ...origin, timeoutMs: 5_000, allowHalfOpen: false }), { limits: HTTP_LIMITS, clock }));
  const listener = await transport.listen({ listen, label: 'plain relay', allowHalfOpen: true, connections: 10_000 }, (stream) => {
    const handlers = { onRequest: (head: RequestHead, exchange: ServerExchange) => relayRequest(head, exchange, pool), onRefused: () => undefined };
    serveHttp1(stream, { limits: HTTP_LIMITS, handlers, peer: undefined, scheme: 'http', clock, reset });
  });
  return { engine: transport.engine, port: listener.port };
}

/** What a server connection made of the bytes it was sent. */
export type Verdict = {
  /** Each request it took whole: `METHOD target body`. */
  readonly requests: readonly string[];
  /** Codes of `onRefused`. */
  readonly refused: readonly string[];
  /** Statuses of all responses, in order. */
  readonly statuses: readonly number[];
  /** Bodies that were cut off. */
  readonly aborted: number;
};

/** Sends `pieces` to a server connection on `stream`, ends if `ends`, waits for the connection's end and says what came of it. */
export function judge(stream: ByteStream, caller: Duplex, pieces: readonly Buffer[], ends: boolean, limits: HttpLimits): Promise<Verdict> {
  return new Promise((resolve) => {
    const requests: string[] = [];
    const refused: string[] = [];
    let aborted = 0;
    let answer = '';
    const onRequest = (head: RequestHead, exchange: ServerExchange): void => {
      const body: Buffer[] = [];
      exchange.receive({
        data: (chunk) => void body.push(chunk),
        end() {
          requests.push(`${head.method} ${head.target} ${Buffer.concat(body).toString('latin1')}`);
          exchange.respond({ status: 204, headers: [], bodyBytes: 0 }, true);
        },
        abort: () => void (aborted += 1),
      });
    };
    caller.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
    caller.on('end', () => caller.end());
    caller.on('error', () => undefined);
    caller.on('close', () => {
      resolve({ requests, refused, aborted, statuses: [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((m) => Number(m[1])) });
    });
    serveHttp1(stream, { limits, peer: undefined, scheme: 'http', clock: systemClock, handlers: { onRequest, onRefused: (code) => void refused.push(code) } });
    void send(caller, pieces, ends);
  });
}

async function send(to: Duplex, pieces: readonly Buffer[], ends: boolean): Promise<void> {
  for (const piece of pieces) {
    if (to.destroyed || to.writableEnded) return;
    if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]).catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve)); // the next piece is another read
  }
  if (ends) to.end();
}

/** A request for tests: GET /a of a.example, changed by `change`. */
export function requestOf(change: Partial<RequestHead> = {}): RequestHead {
  return { method: 'GET', target: '/a', authority: 'a.example', scheme: 'http', headers: [], bodyBytes: 0, expectsContinue: false, ...change };
}

/** A sink that remembers what it heard. */
export class TakenResponse implements ResponseSink {
  status = 0;
  headers: HeaderList = [];
  bodyBytes: number | undefined;
  body = '';
  trailers: HeaderList | undefined;
  aborted: Abort | undefined;
  drains = 0;
  switchedTo: ResponseHead | undefined;
  readonly informs: number[] = [];
  readonly over: Promise<void>;
  onInform: (head: ResponseHead) => void = () => undefined;
  onData: (chunk: Buffer) => void = () => undefined;
  onDrain: () => void = () => undefined;
  readonly #resolve: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#resolve = resolve;
  }

  inform(head: ResponseHead): void {
    this.informs.push(head.status);
    this.onInform(head);
  }

  response(head: ResponseHead, endsNow: boolean): void {
    this.status = head.status;
    this.headers = head.headers;
    this.bodyBytes = head.bodyBytes;
    if (endsNow) this.#resolve();
  }

  switched(head: ResponseHead): void {
    this.switchedTo = head;
    this.onInform(head);
  }

  data(chunk: Buffer): void {
    this.body += chunk.toString('latin1');
    this.onData(chunk);
  }

  end(trailers: HeaderList | undefined): void {
    this.trailers = trailers;
    this.#resolve();
  }

  abort(why: Abort): void {
    this.aborted = why;
    this.#resolve();
  }

  drain(): void {
    this.drains += 1;
    this.onDrain();
  }
}

/** Makes one. */
export function takeResponse(): TakenResponse {
  return new TakenResponse();
}

/** The engines of this machine. */
export const ENGINES: readonly EngineKind[] = process.platform === 'linux' ? ['portable', 'linux'] : ['portable'];

/** Runs on a transport of its own, and ends it afterwards. */
export async function withTransport(engine: EngineKind, run: (transport: Transport) => Promise<void>): Promise<void> {
  if (engine === 'portable') return run(portableTransport());
  const loop = new Loop((error) => {
    throw error;
  });
  try {
    // The callers of a test are on Node's own loop, in the same thread.
    await loop.hold(run(linuxTransport(loop)));
  } finally {
    loop.close();
  }
}
