// Both ends against Node's own HTTP/2, against each other, and over TLS: bodies, trailers, back-pressure, and how things end.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { after, test as nodeTest, type TestContext } from 'node:test';
import { type Abort, type BodySink, type ClientConnection, HTTP_LIMITS, type HeaderList, type RequestHead, type ResponseHead, type ResponseSink, type ServerExchange } from '../http/exchange.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { kept } from '../transport/lent.ts';
import { portableTransport } from '../transport/portable.ts';
import type { Transport } from '../transport/transport.ts';
import { openHttp2, type OpenHttp2Options } from './client.ts';
import { ERROR } from './protocol.ts';
import { block, echo, frame, listen, type RawFrame, RawPeer, settings, startServer, type TestServer, type TestServerOptions, word } from './testing.ts';

const errors: unknown[] = [];
const loop = process.platform === 'linux' ? new Loop((error) => errors.push(error), { sharesThread: true }) : undefined;
after(() => {
  loop?.close();
  assert.deepEqual(errors, []);
});

/** Each test runs on both kinds of sockets: Node's, and the Linux engine's own. */
const transports: readonly Transport[] = [portableTransport(), ...(loop === undefined ? [] : [linuxTransport(loop)])];
let transport = portableTransport();

function test(name: string, fn: (t: TestContext) => Promise<void>): void {
  for (const one of transports) {
    nodeTest(`${one.engine}: ${name}`, async (t) => {
      transport = one;
      await fn(t);
    });
  }
}

async function serve(t: TestContext, options: TestServerOptions): Promise<TestServer> {
  const server = await startServer({ transport, ...options });
  t.after(() => server.close());
  return server;
}

async function connect(t: TestContext, port: number, options: Partial<OpenHttp2Options> = {}): Promise<ClientConnection> {
  const socket = await transport.dial({ host: '127.0.0.1', port, timeoutMs: 5000, allowHalfOpen: false });
  t.after(() => void socket.destroy());
  return openHttp2(socket, { limits: HTTP_LIMITS, clock: transport.clock, ...options });
}

function head(over: Partial<RequestHead> = {}): RequestHead {
  return { method: 'POST', target: '/', authority: 'svc.example', scheme: 'http', headers: [], bodyBytes: undefined, expectsContinue: false, ...over };
}

/** A response as it came; `ended` settles at its end or abort. */
class Response implements ResponseSink {
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

function get(client: ClientConnection, over: Partial<RequestHead> = {}): Promise<Response> {
  const response = new Response();
  client.request(head({ method: 'GET', bodyBytes: 0, ...over }), true, response);
  return response.ended;
}

/** A server in raw frames; `script` has one connection, whose preface is gone. */
async function serveRaw(t: TestContext, script: (peer: RawPeer) => void | Promise<void>): Promise<number> {
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

const heads = (f: RawFrame): boolean => f.type === 1;
const OK = Buffer.from([0x88]);

// Against Node.

test('a client of node:http2 gets its body back, with trailers both ways', async (t) => {
  const server = await serve(t, { onRequest: echo });
  const session = http2.connect(`http://127.0.0.1:${server.port}`);
  t.after(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': '/a?b', 'x-a': '1' }, { waitForTrailers: true } as http2.ClientSessionRequestOptions);
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42' }));
  stream.end(Buffer.alloc(300_000, 'z'));
  const trailers = once(stream, 'trailers');
  let bytes = 0;
  for await (const chunk of stream) bytes += (chunk as Buffer).length;
  assert.equal(bytes, 300_000);
  assert.equal(((await trailers) as [http2.IncomingHttpHeaders])[0]['x-sum'], '42');
});

test('a server of node:http2 answers our client, with informational heads, body and trailers', async (t) => {
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.additionalHeaders({ ':status': 103, link: '</x>' });
    stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.pipe(stream);
  });
  const port = await listen(server as unknown as net.Server);
  t.after(() => server.close());
  const client = await connect(t, port);
  const response = new Response();
  const exchange = client.request(head({ target: '/there' }), false, response);
  exchange.write(Buffer.from('hello '));
  exchange.write(Buffer.from('world'));
  exchange.end();
  await response.ended;
  assert.deepEqual(response.informed.map((h) => h.status), [103]);
  assert.equal(response.head?.status, 200);
  assert.ok(response.head.headers.includes('/there'));
  assert.equal(response.body, 'hello world');
  assert.deepEqual(response.trailers, ['grpc-status', '0']);
});

test('ten megabytes go through both of our ends and come back the same', async (t) => {
  const server = await serve(t, {
    onRequest: (_head, exchange) => {
      exchange.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
      exchange.receive({
        data: (chunk) => {
          if (!exchange.write(chunk)) exchange.pauseBody();
        },
        end: (trailers) => exchange.end(trailers),
        abort: () => undefined,
      });
      exchange.onDrain = () => exchange.resumeBody();
    },
  });
  const client = await connect(t, server.port);
  const response = new Response();
  const exchange = client.request(head(), false, response);
  const sent = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i & 0xff));
  let rest = 1000;
  const more = (): void => {
    while (rest > 0) {
      rest--;
      if (!exchange.write(sent)) return;
    }
    exchange.end(['x-last', 'yes']);
  };
  response.drain = more;
  more();
  await response.ended;
  const got = Buffer.concat(response.chunks);
  assert.equal(got.length, 10_000_000);
  for (let i = 0; i < 1000; i++) assert.ok(got.subarray(i * 10_000, (i + 1) * 10_000).equals(sent));
  assert.deepEqual(response.trailers, ['x-last', 'yes']);
  assert.equal(client.active, 0);
});

test('a hundred requests at once each get their own answer', async (t) => {
  const server = await serve(t, { onRequest: (h, exchange) => exchange.respond({ status: 200, headers: ['x-target', h.target], bodyBytes: 0 }, true) });
  const client = await connect(t, server.port);
  const responses = await Promise.all(Array.from({ length: 100 }, (_, i) => get(client, { target: `/${i}` })));
  assert.deepEqual(responses.map((r) => r.head?.headers), Array.from({ length: 100 }, (_, i) => ['x-target', `/${i}`]));
});

test('a gRPC answer of trailers only stays one: a head that ends', async (t) => {
  const server = await serve(t, { onRequest: (_head, exchange) => exchange.respond({ status: 200, headers: ['content-type', 'application/grpc', 'grpc-status', '12'], bodyBytes: 0 }, true) });
  const client = await connect(t, server.port);
  let endsNow = false;
  const response = new Response();
  const { response: take } = response;
  response.response = (h, ends) => {
    endsNow = ends;
    take.call(response, h, ends);
  };
  response.end = () => assert.fail('an end behind a head that ends');
  const exchange = client.request(head(), false, response);
  exchange.end();
  await response.ended;
  await get(client);
  assert.equal(endsNow, true);
  assert.deepEqual(response.head?.headers, ['content-type', 'application/grpc', 'grpc-status', '12']);
});

test('the answer to HEAD keeps the length of the body it does not have', async (t) => {
  const server = await serve(t, { onRequest: (_head, exchange) => exchange.respond({ status: 200, headers: [], bodyBytes: 1234 }, true) });
  const client = await connect(t, server.port);
  const response = await get(client, { method: 'HEAD' });
  assert.deepEqual([response.head?.bodyBytes, response.why], [1234, undefined]);
});

test('a waiting caller is told to continue, and the request says that it waits', async (t) => {
  const server = await serve(t, {
    onRequest: (h, exchange) => {
      assert.equal(h.expectsContinue, true);
      exchange.inform({ status: 100, headers: [], bodyBytes: undefined });
      echo(h, exchange);
    },
  });
  const client = await connect(t, server.port);
  const response = new Response();
  const exchange = client.request(head({ expectsContinue: true }), false, response);
  response.inform = (h) => {
    assert.equal(h.status, 100);
    exchange.end();
  };
  await response.ended;
  assert.equal(response.head?.status, 200);
});

test('extended CONNECT switches both ends, whose directions then end one by one', async (t) => {
  const server = await serve(t, {
    onRequest: (h, exchange) => {
      assert.deepEqual([h.method, h.upgrade], ['GET', 'websocket']);
      exchange.switchProtocols({ status: 101, headers: ['x-a', 'b'], bodyBytes: undefined });
      exchange.receive({ data: (chunk) => void exchange.write(chunk), end: () => exchange.end(), abort: () => undefined });
    },
  });
  const client = await connect(t, server.port);
  await new Promise<void>((resolve) => (client.onFree = resolve));
  const response = new Response();
  const exchange = client.request(head({ method: 'GET', upgrade: 'websocket' }), false, response);
  await new Promise<void>((resolve) => (response.onHead = resolve));
  assert.equal(response.isSwitched, true);
  exchange.write(Buffer.from('frames'));
  await new Promise<void>((resolve) => (response.onData = resolve));
  exchange.end();
  await response.ended;
  assert.deepEqual([response.body, response.why], ['frames', undefined]);
});

// Back-pressure.

test('a taker that pauses stops the sender, and gets all once it goes on', async (t) => {
  let exchange: ServerExchange | undefined;
  let bytes = 0;
  let ended: () => void = () => undefined;
  const end = new Promise<void>((resolve) => (ended = resolve));
  const sink: BodySink = { data: (chunk) => (bytes += chunk.length), end: () => ended(), abort: () => assert.fail('aborted') };
  const server = await serve(t, {
    limits: { bufferBytes: 65_536 },
    onRequest: (_head, x) => {
      exchange = x;
      x.receive(sink);
      x.pauseBody();
    },
  });
  const client = await connect(t, server.port, { limits: { ...HTTP_LIMITS, bufferBytes: 65_536 } });
  const response = new Response();
  const request = client.request(head(), false, response);
  let written = 0;
  while (request.write(Buffer.alloc(10_000))) written += 10_000;
  written += 10_000;
  // What was written until it said stop: a window there and a buffer here.
  assert.ok(written >= 65_536 && written <= 3 * 65_536 + 20_000, `${written} bytes`);
  await new Promise<void>((resolve) => {
    response.drain = resolve;
    const poll = setInterval(() => {
      if (exchange === undefined) return;
      clearInterval(poll);
      assert.ok(bytes <= 65_536);
      exchange.resumeBody();
    }, 1);
  });
  request.end();
  await end;
  assert.equal(bytes, written);
});

test('a taker that pauses amid what was held for it is given no more until it goes on', async (t) => {
  const chunks: string[] = [];
  const exchanges: ServerExchange[] = [];
  const server = await serve(t, { onRequest: (_head, x) => void exchanges.push(x) });
  const { connectRaw, requestBlock } = await import('./testing.ts');
  const peer = await connectRaw(server.port);
  peer.send(frame(1, 4, 1, requestBlock('POST')), frame(0, 0, 1, 'a'.repeat(1000)), frame(0, 1, 1, 'b'.repeat(1000)), frame(6, 0, 0, Buffer.alloc(8)));
  await peer.find('PING', (f) => f.type === 6);
  const [exchange] = exchanges;
  assert.ok(exchange);
  exchange.receive({
    data: (chunk) => {
      chunks.push(chunk.toString('latin1', 0, 1));
      exchange.pauseBody();
    },
    end: () => void chunks.push('end'),
    abort: () => assert.fail('aborted'),
  });
  assert.deepEqual(chunks, ['a']);
  exchange.resumeBody();
  assert.deepEqual(chunks, ['a', 'b', 'end']);
  peer.socket.destroy();
});

test('a server that has answered in full asks for the rest of the request no more', async (t) => {
  const server = await serve(t, { onRequest: (_head, exchange) => exchange.respond({ status: 413, headers: [], bodyBytes: 0 }, true) });
  const { connectRaw, requestBlock } = await import('./testing.ts');
  const peer = await connectRaw(server.port);
  peer.send(frame(1, 4, 1, requestBlock('POST')));
  await peer.find('the answer', (f) => f.type === 1 && f.flags === 5);
  assert.equal((await peer.find('RST_STREAM', (f) => f.type === 3)).payload.readUInt32BE(0), ERROR.none);
  assert.equal(server.connections[0]?.active, 0);
  peer.send(frame(0, 1, 1, 'late'), frame(6, 0, 0, Buffer.alloc(8)));
  await peer.find('PING', (f) => f.type === 6);
  assert.deepEqual(server.refusals, []);
  peer.socket.destroy();
});

// Ends.

test('a reset by the caller reaches the application once, and its writes go nowhere', async (t) => {
  let aborted: (why: Abort) => void = () => undefined;
  const told = new Promise<Abort>((resolve) => (aborted = resolve));
  const server = await serve(t, {
    onRequest: (_head, exchange) => {
      exchange.onAbort = (why) => {
        exchange.write(Buffer.from('late'));
        exchange.end();
        aborted(why);
      };
    },
  });
  const client = await connect(t, server.port);
  const response = new Response();
  client.request(head(), false, response).abort({ reason: 'cancelled', detail: 'enough' });
  assert.equal((await told).reason, 'cancelled');
  assert.equal(server.connections[0]?.active, 0);
  assert.equal(response.why, undefined);
});

for (const [reason, code] of [['unprocessed', ERROR.refusedStream], ['overloaded', ERROR.enhanceYourCalm], ['reset', ERROR.internal], ['timeout', ERROR.cancel]] as const) {
  test(`an exchange cut off as ${reason} is reset with code ${code}`, async (t) => {
    const server = await serve(t, { onRequest: (_head, exchange) => exchange.abort({ reason, detail: '' }) });
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    t.after(() => session.destroy());
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => undefined);
    await new Promise<void>((resolve) => stream.on('close', () => resolve()));
    assert.equal(stream.rstCode, code);
  });
}

for (const [code, reason] of [[ERROR.refusedStream, 'unprocessed'], [ERROR.internal, 'reset'], [ERROR.cancel, 'reset'], [ERROR.none, 'reset']] as const) {
  test(`RST_STREAM with code ${code} before the answer means ${reason}`, async (t) => {
    const port = await serveRaw(t, async (peer) => {
      const { id } = await peer.find('a request', heads);
      peer.send(frame(3, 0, id, word(code)));
    });
    const client = await connect(t, port);
    assert.equal((await get(client)).why?.reason, reason);
  });
}

test('an answer that ends before its request stops the upload and counts as whole', async (t) => {
  const server = await serve(t, {
    onRequest: (_head, exchange) => {
      exchange.respond({ status: 413, headers: [], bodyBytes: undefined }, false);
      exchange.write(Buffer.from('too much'));
      exchange.end();
    },
  });
  const client = await connect(t, server.port);
  const response = new Response();
  const exchange = client.request(head(), false, response);
  exchange.write(Buffer.alloc(1000));
  await response.ended;
  exchange.write(Buffer.alloc(1000));
  exchange.end();
  assert.deepEqual([response.head?.status, response.body, response.why], [413, 'too much', undefined]);
  assert.equal(client.active, 0);
  assert.equal((await get(client)).head?.status, 413);
  assert.deepEqual(server.refusals, []);
});

test('a whole answer that waits to be taken survives the RST_STREAM behind it', async (t) => {
  const port = await serveRaw(t, async (peer) => {
    const { id } = await peer.find('a request', heads);
    peer.send(frame(1, 4, id, OK), frame(0, 1, id, 'whole'), frame(3, 0, id, word(ERROR.none)), frame(6, 0, 0, Buffer.alloc(8)));
    await peer.find('PING', (f) => f.type === 6);
    resume();
  });
  const client = await connect(t, port);
  const response = new Response();
  const exchange = client.request(head(), false, response);
  exchange.pauseBody();
  const resume = (): void => exchange.resumeBody();
  await response.ended;
  assert.deepEqual([response.body, response.why], ['whole', undefined]);
});

test('GOAWAY: requests above the last one were never processed, the others end in peace, then the connection', async (t) => {
  const port = await serveRaw(t, async (peer) => {
    await peer.find('the second request', (f) => f.type === 1 && f.id === 3);
    peer.send(frame(7, 0, 0, Buffer.concat([word(1), word(0)])), frame(1, 5, 1, OK));
  });
  const client = await connect(t, port);
  const closed = new Promise<void>((resolve) => (client.onClose = resolve));
  const [first, second] = await Promise.all([get(client), get(client)]);
  assert.deepEqual([first.head?.status, second.why?.reason], [200, 'unprocessed']);
  assert.equal(client.free, 0);
  await closed;
});

test('a connection that breaks aborts what is in flight; a request that never left was not sent', async (t) => {
  const port = await serveRaw(t, async (peer) => {
    await peer.find('a request', heads);
    peer.socket.destroy();
  });
  const client = await connect(t, port);
  assert.equal((await get(client)).why?.reason, 'closed');
  assert.equal((await get(client)).why?.reason, 'not-sent');
  const other = await connect(t, port);
  const unsent = get(other);
  other.destroy();
  assert.equal((await unsent).why?.reason, 'not-sent');
});

test('drain of a server: what is under way ends, what comes late is not lost, then it closes', async (t) => {
  const exchanges: ServerExchange[] = [];
  const server = await serve(t, { onRequest: (_head, exchange) => void exchanges.push(exchange) });
  const client = await connect(t, server.port);
  const first = get(client);
  while (exchanges.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const closed = new Promise<void>((resolve) => (client.onClose = resolve));
  server.connections[0]?.drain();
  // It left before GOAWAY came: it is among those that still count.
  const second = get(client);
  while (exchanges.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(client.free, 0);
  for (const exchange of exchanges) exchange.respond({ status: 204, headers: [], bodyBytes: 0 }, true);
  assert.deepEqual([(await first).head?.status, (await second).head?.status], [204, 204]);
  await closed;
});

test('a server in its last phase leaves new streams to be sent elsewhere', async (t) => {
  const exchanges: ServerExchange[] = [];
  const server = await serve(t, { onRequest: (_head, exchange) => void exchanges.push(exchange) });
  const { connectRaw, requestBlock } = await import('./testing.ts');
  const peer = await connectRaw(server.port);
  peer.send(frame(1, 5, 1, requestBlock()));
  while (exchanges.length === 0) await new Promise((resolve) => setImmediate(resolve));
  server.connections[0]?.drain();
  const first = await peer.find('the first GOAWAY', (f) => f.type === 7);
  assert.equal(first.payload.readUInt32BE(0), 0x7fff_ffff);
  const ping = await peer.find('PING', (f) => f.type === 6);
  peer.send(frame(6, 1, 0, ping.payload));
  assert.equal((await peer.find('the last GOAWAY', (f) => f.type === 7)).payload.readUInt32BE(0), 1);
  peer.send(frame(1, 5, 3, requestBlock()), frame(6, 0, 0, Buffer.alloc(8)));
  await peer.find('PING', (f) => f.type === 6);
  assert.equal(exchanges.length, 1);
  exchanges[0]?.respond({ status: 200, headers: [], bodyBytes: 0 }, true);
  await peer.find('the answer', (f) => f.type === 1 && f.id === 1);
  await peer.closed();
});

test('drain of a client: requests in flight end, no more are taken, then it closes', async (t) => {
  const server = await serve(t, { onRequest: echo });
  const client = await connect(t, server.port);
  const response = new Response();
  const exchange = client.request(head(), false, response);
  const closed = new Promise<void>((resolve) => (client.onClose = resolve));
  client.drain();
  assert.equal(client.free, 0);
  exchange.write(Buffer.from('still'));
  exchange.end();
  assert.equal((await response.ended).body, 'still');
  await closed;
});

test('free follows the peer’s limit and the requests in flight, and says when it grows', async (t) => {
  const exchanges: ServerExchange[] = [];
  const server = await serve(t, { limits: { streams: 2 }, onRequest: (_head, exchange) => void exchanges.push(exchange) });
  const client = await connect(t, server.port);
  await new Promise<void>((resolve) => (client.onFree = resolve));
  assert.equal(client.free, 2);
  const both = [get(client), get(client)];
  assert.deepEqual([client.free, client.active], [0, 2]);
  while (exchanges.length < 2) await new Promise((resolve) => setImmediate(resolve));
  const freed = new Promise<void>((resolve) => (client.onFree = resolve));
  exchanges[0]?.respond({ status: 200, headers: [], bodyBytes: 0 }, true);
  await freed;
  assert.equal(client.free, 1);
  exchanges[1]?.respond({ status: 200, headers: [], bodyBytes: 0 }, true);
  await Promise.all(both);
});

// A server that lies to our client.

for (const [name, answer, code] of [
  ['a push', [frame(5, 4, 1, [0, 0, 0, 2, 0x88])], ERROR.protocol],
  ['ENABLE_PUSH', [settings([2, 1])], ERROR.protocol],
  ['an answer to a request nobody sent', [frame(1, 5, 9, OK)], ERROR.protocol],
  ['an answer on an even stream', [frame(1, 5, 2, OK)], ERROR.protocol],
  ['a second answer', [frame(1, 5, 1, OK), frame(1, 5, 1, OK)], ERROR.streamClosed],
  ['a broken block', [frame(1, 5, 1, [0x80])], ERROR.compression],
] as const) {
  test(`a server that sends ${name} loses the connection`, async (t) => {
    let code_: number | undefined;
    const port = await serveRaw(t, async (peer) => {
      await peer.find('a request', heads);
      peer.send(...answer);
      code_ = (await peer.find('GOAWAY', (f) => f.type === 7)).payload.readUInt32BE(4);
      peer.socket.destroy();
    });
    const client = await connect(t, port);
    const closed = new Promise<void>((resolve) => (client.onClose = resolve));
    await get(client);
    await closed;
    while (code_ === undefined) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(code_, code);
  });
}

for (const [name, answer] of [
  ['no status', [frame(1, 5, 1, block(['a', 'b']))]],
  ['status 101', [frame(1, 4, 1, block([':status', '101']))]],
  ['an upper-case name', [frame(1, 5, 1, block([':status', '200'], ['A', 'b']))]],
  ['transfer-encoding', [frame(1, 5, 1, block([':status', '200'], ['transfer-encoding', 'chunked']))]],
  ['more body than it says', [frame(1, 4, 1, block([':status', '200'], ['content-length', '1'])), frame(0, 1, 1, 'xx')]],
  ['less body than it says', [frame(1, 4, 1, block([':status', '200'], ['content-length', '3'])), frame(0, 1, 1, 'xx')]],
  ['a body before its head', [frame(0, 1, 1, 'xx')]],
  ['trailers with a status', [frame(1, 4, 1, OK), frame(1, 5, 1, OK)]],
] as const) {
  test(`an answer with ${name} is aborted as a breach of protocol, and the connection goes on`, async (t) => {
    const refusals: string[] = [];
    const port = await serveRaw(t, async (peer) => {
      await peer.find('a request', heads);
      peer.send(...answer);
      await peer.find('RST_STREAM', (f) => f.type === 3 && f.id === 1);
      const { id } = await peer.find('another request', heads);
      peer.send(frame(1, 5, id, OK));
    });
    const client = await connect(t, port, { onRefused: (code) => void refusals.push(code) });
    const response = await get(client);
    assert.equal(response.why?.reason, 'protocol');
    assert.equal((await get(client)).head?.status, 200);
    assert.deepEqual(refusals, ['h2-malformed']);
  });
}

test('a server that is gone without a word is noticed by PING while requests wait', async (t) => {
  const { fakeClock } = await import('@isthmus/runtime/testing');
  const clock = fakeClock();
  const port = await serveRaw(t, (peer) => peer.send(frame(4, 1, 0)));
  const client = await connect(t, port, { clock, pingMs: 10_000 });
  await new Promise<void>((resolve) => (client.onFree = resolve));
  const response = get(client);
  await clock.advance(60_000);
  assert.equal((await response).why?.reason, 'timeout');
});
