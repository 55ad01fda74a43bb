// A relay from server connections to one pool of client connections, without routes or policy: for tests of the codec.
import type { Abort, BodySink, ClientConnection, ClientExchange, HeaderList, RequestHead, ResponseHead, ResponseSink, ServerExchange } from '../http/exchange.ts';

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
