// How things end in HTTP/2: resets, GOAWAY, drains, connections that break, peers that break the rules or are gone.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import type { Abort, ServerExchange } from '../http/exchange.ts';
import { ERROR } from './protocol.ts';
import { block, echo, frame, settings, word } from './testing.ts';
import { connect, get, head, heads, OK, Response, serve, serveRaw, test } from './testing-ends.ts';

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

test('a request that cannot be sent, taken back at once, costs no other one anything', async (t) => {
  const port = await serveRaw(t, async (peer) => {
    const { id } = await peer.find('a request', heads);
    peer.send(frame(1, 5, id, OK));
  });
  const client = await connect(t, port);
  // The other end has not said that it takes tunnels.
  const refused = client.request(head({ upgrade: 'websocket' }), false, new Response());
  const answer = get(client);
  refused.abort({ reason: 'cancelled', detail: 'enough' });
  assert.equal((await answer).why, undefined);
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
