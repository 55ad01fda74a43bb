// Both ends against Node's own HTTP/2, against each other, and over TLS: bodies, trailers, back-pressure.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import type net from 'node:net';
import { type BodySink, HTTP_LIMITS, type ServerExchange } from '../http/exchange.ts';
import { ERROR } from './protocol.ts';
import { echo, frame, listen } from './testing.ts';
import { connect, get, head, Response, serve, test } from './testing-ends.ts';

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
