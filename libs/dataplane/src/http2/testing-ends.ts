// For tests of both ends: the transports they run on, a server, a client, and answers as they come.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, test as nodeTest, type TestContext } from 'node:test';
import { type Abort, type ClientConnection, HTTP_LIMITS, type HeaderList, type RequestHead, type ResponseHead, type ResponseSink } from '../http/exchange.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { kept } from '../transport/lent.ts';
import { portableTransport } from '../transport/portable.ts';
import type { Transport } from '../transport/transport.ts';
import { openHttp2, type OpenHttp2Options } from './client.ts';
import { listen, type RawFrame, RawPeer, settings, startServer, type TestServer, type TestServerOptions } from './testing.ts';

const errors: unknown[] = [];
const loop = process.platform === 'linux' ? new Loop((error) => errors.push(error), { sharesThread: true }) : undefined;
after(() => {
  loop?.close();
  assert.deepEqual(errors, []);
});

/** Each test runs on both kinds of sockets: Node's, and the Linux engine's own. */
const transports: readonly Transport[] = [portableTransport(), ...(loop === undefined ? [] : [linuxTransport(loop)])];
export let transport: Transport = portableTransport();

export function test(name: string, fn: (t: TestContext) => Promise<void>): void {
  for (const one of transports) {
    nodeTest(`${one.engine}: ${name}`, async (t) => {
      transport = one;
      await fn(t);
    });
  }
}

export async function serve(t: TestContext, options: TestServerOptions): Promise<TestServer> {
  const server = await startServer({ transport, ...options });
  t.after(() => server.close());
  return server;
}

export async function connect(t: TestContext, port: number, options: Partial<OpenHttp2Options> = {}): Promise<ClientConnection> {
  const socket = await transport.dial({ host: '127.0.0.1', port, timeoutMs: 5000, allowHalfOpen: false });
  t.after(() => void socket.destroy());
  return openHttp2(socket, { limits: HTTP_LIMITS, clock: transport.clock, ...options });
}

export function head(over: Partial<RequestHead> = {}): RequestHead {
  return { method: 'POST', target: '/', authority: 'svc.example', scheme: 'http', headers: [], bodyBytes: undefined, expectsContinue: false, ...over };
}

/** A response as it came; `ended` settles at its end or abort. */
export class Response implements ResponseSink {
  readonly informed: ResponseHead[] = [];
  head: ResponseHead | undefined;
  isSwitched = false;
  readonly chunks: Buffer[] = [];
  trailers: HeaderList | undefined;
  why: Abort | undefined;
  drains = 0;
  onData: (() => void) | undefined;
  onHead: (() => void) | undefined;
  #settle: () => void = () => undefined;
  readonly ended: Promise<this>;

  constructor() {
    this.ended = new Promise((resolve) => (this.#settle = () => resolve(this)));
  }

  get body(): string {
    return Buffer.concat(this.chunks).toString();
  }

  inform(head: ResponseHead): void {
    this.informed.push(head);
  }

  response(head: ResponseHead, endsNow: boolean): void {
    this.head = head;
    this.onHead?.();
    if (endsNow) this.#settle();
  }

  switched(head: ResponseHead): void {
    this.head = head;
    this.isSwitched = true;
    this.onHead?.();
  }

  data(chunk: Buffer): void {
    this.chunks.push(kept(chunk));
    this.onData?.();
  }

  end(trailers: HeaderList | undefined): void {
    this.trailers = trailers;
    this.#settle();
  }

  abort(why: Abort): void {
    this.why = why;
    this.#settle();
  }

  drain(): void {
    this.drains++;
  }
}

export function get(client: ClientConnection, over: Partial<RequestHead> = {}): Promise<Response> {
  const response = new Response();
  client.request(head({ method: 'GET', bodyBytes: 0, ...over }), true, response);
  return response.ended;
}

/** A server in raw frames; `script` has one connection, whose preface is gone. */
export async function serveRaw(t: TestContext, script: (peer: RawPeer) => void | Promise<void>): Promise<number> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    const peer = new RawPeer(socket, 24);
    peer.send(settings());
    // A script that waits in vain makes its test fail by what is missing.
    Promise.resolve(script(peer)).catch(() => undefined);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return listen(server);
}

export const heads = (f: RawFrame): boolean => f.type === 1;
export const OK = Buffer.from([0x88]);

// Against Node.
