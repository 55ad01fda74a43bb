// Peers that mean harm: each is cut off, counted under its name, and costs no more than the limit says.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import type { ServerExchange } from '../http/exchange.ts';
import { ERROR, PREFACE } from './protocol.ts';
import { block, connectRaw, echo, frame, HELLO, type RawPeer, requestBlock, settings, startServer, type TestServer, type TestServerOptions, word } from './testing.ts';

async function start(t: TestContext, options: Partial<TestServerOptions> = {}, hello = HELLO): Promise<{ readonly server: TestServer; readonly peer: RawPeer }> {
  const server = await startServer({ onRequest: echo, ...options });
  const peer = await connectRaw(server.port, hello);
  t.after(() => {
    peer.socket.destroy();
    server.close();
  });
  return { server, peer };
}

/** Waits for GOAWAY and returns its code. */
async function goaway(peer: RawPeer): Promise<number> {
  const { payload } = await peer.find('GOAWAY', (f) => f.type === 7);
  await peer.closed();
  return payload.readUInt32BE(4);
}

const odd = (count: number): number[] => Array.from({ length: count }, (_, i) => 2 * i + 1);

test('rapid reset: a peer that opens and resets is told to calm down, and its requests are cancelled', async (t) => {
  let [begun, cancelled] = [0, 0];
  const { server, peer } = await start(t, {
    onRequest: (_head, exchange) => {
      begun++;
      exchange.onAbort = () => cancelled++;
    },
  });
  peer.send(...odd(1000).flatMap((id) => [frame(1, 5, id, requestBlock()), frame(3, 0, id, word(ERROR.cancel))]));
  assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
  assert.deepEqual(server.refusals, ['h2-rapid-reset']);
  assert.ok(begun <= 201, `${begun} requests got through`);
  assert.equal(cancelled, begun);
});

test('a peer that cancels some of its many requests is served', async (t) => {
  const { server, peer } = await start(t);
  for (let id = 1; id < 3000; id += 6) {
    peer.send(frame(1, 4, id, requestBlock('POST')), frame(3, 0, id, word(ERROR.cancel)), frame(1, 5, id + 2, requestBlock()), frame(1, 5, id + 4, requestBlock()));
    await peer.find('an answer', (f) => f.type === 1 && f.id === id + 4);
  }
  assert.deepEqual(server.refusals, []);
});

for (const [name, provoke] of [
  ['a window that overflows', (id: number) => [frame(1, 4, id, requestBlock('POST')), frame(8, 0, id, word(0x7fff_ffff))]],
  ['DATA behind END_STREAM', (id: number) => [frame(1, 5, id, requestBlock('POST', ['x-wait', '1'])), frame(0, 0, id, 'x')]],
  ['HEADERS behind END_STREAM', (id: number) => [frame(1, 5, id, requestBlock('POST', ['x-wait', '1'])), frame(1, 5, id, block(['a', 'b']))]],
  ['malformed heads', (id: number) => [frame(1, 5, id, block([':method', 'GET']))]],
  ['bodies longer than they say', (id: number) => [frame(1, 4, id, requestBlock('POST', ['content-length', '1'])), frame(0, 1, id, 'xx')]],
] as const) {
  test(`made you reset: ${name} counts like a reset of the peer's`, async (t) => {
    const { server, peer } = await start(t, { onRequest: (head, exchange) => (head.headers.includes('x-wait') ? undefined : echo(head, exchange)) });
    peer.send(...odd(1000).flatMap(provoke));
    assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
    assert.equal(server.refusals.at(-1), 'h2-rapid-reset');
    assert.ok(server.refusals.length <= 202, `${server.refusals.length} refusals`);
  });
}

test('CONTINUATION without end: bytes are bounded before END_HEADERS', async (t) => {
  const { server, peer } = await start(t, { limits: { headerBytes: 8192 } });
  peer.send(frame(1, 1, 1, requestBlock()), ...Array.from({ length: 10 }, () => frame(9, 0, 1, block(['a', 'x'.repeat(1000)]))));
  assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
  assert.deepEqual(server.refusals, ['h2-continuation-flood']);
});

test('CONTINUATION without content: frames are bounded, too', async (t) => {
  const { server, peer } = await start(t);
  peer.send(frame(1, 1, 1, requestBlock()), ...Array.from({ length: 100 }, () => frame(9, 0, 1)));
  assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
  assert.deepEqual(server.refusals, ['h2-continuation-flood']);
});

test('a header bomb is answered with 431, and the connection goes on in step', async (t) => {
  const { server, peer } = await start(t, { limits: { headerBytes: 16_384 } });
  // One entry of 3000 octets, then an octet for each use of it.
  const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xb9, 0x16]), Buffer.alloc(3000, 'x')]);
  peer.send(frame(1, 5, 1, Buffer.concat([requestBlock(), entry, Buffer.alloc(4000, 0xbe)])));
  assert.equal((await peer.find('431', (f) => f.type === 1 && f.id === 1)).payload.toString('latin1').includes('431'), true);
  assert.deepEqual(server.refusals, ['h2-header-limit']);
  peer.send(frame(1, 5, 3, Buffer.concat([requestBlock(), Buffer.from([0xbe])])));
  await peer.find('an answer', (f) => f.type === 1 && f.id === 3);
});

test('too many fields and too long a path are answered, not passed on', async (t) => {
  const { server, peer } = await start(t, { limits: { headerCount: 20, targetBytes: 100 }, onRequest: () => assert.fail('passed on') });
  peer.send(frame(1, 5, 1, requestBlock('GET', ...Array.from({ length: 20 }, () => ['a', 'b'] as const))));
  assert.match((await peer.find('431', (f) => f.type === 1 && f.id === 1)).payload.toString('latin1'), /431/);
  peer.send(frame(1, 5, 3, block([':method', 'GET'], [':scheme', 'http'], [':path', `/${'x'.repeat(100)}`], [':authority', 'a'])));
  assert.match((await peer.find('414', (f) => f.type === 1 && f.id === 3)).payload.toString('latin1'), /414/);
  assert.deepEqual(server.refusals, ['h2-header-limit', 'h2-header-limit']);
});

for (const [name, one] of [
  ['PING', frame(6, 0, 0, Buffer.alloc(8))],
  ['SETTINGS', settings()],
  ['PRIORITY', frame(2, 0, 7, [0, 0, 0, 0, 1])],
  ['WINDOW_UPDATE', frame(8, 0, 0, word(1))],
  ['frames of no known type', frame(0x77, 0, 0)],
] as const) {
  test(`a flood of ${name} ends the connection`, async (t) => {
    const { server, peer } = await start(t);
    peer.send(Buffer.concat(Array.from({ length: 3000 }, () => one)));
    assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
    assert.deepEqual(server.refusals, ['h2-control-flood']);
    assert.ok(peer.frames.length <= 1010, `${peer.frames.length} frames came back`);
  });
}

test('a flood of empty DATA ends the connection', async (t) => {
  const { server, peer } = await start(t);
  peer.send(frame(1, 4, 1, requestBlock('POST')), Buffer.concat(Array.from({ length: 3000 }, () => frame(0, 0, 1))));
  assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
  assert.deepEqual(server.refusals, ['h2-empty-flood']);
});

test('a flood of trailers on late streams ends the connection', async (t) => {
  const { server, peer } = await start(t);
  peer.send(frame(1, 4, 1, block([':method', 'GET'])), Buffer.concat(Array.from({ length: 3000 }, () => frame(1, 4, 1, block(['a', 'b'])))));
  assert.equal(await goaway(peer), ERROR.enhanceYourCalm);
  assert.deepEqual(server.refusals, ['h2-malformed', 'h2-control-flood']);
});

test('streams over the limit are refused as never processed, and those within it are not touched', async (t) => {
  const exchanges: number[] = [];
  const { server, peer } = await start(t, { limits: { streams: 5 }, onRequest: () => void exchanges.push(1) });
  // Past the SETTINGS it acknowledged in HELLO, the peer knows the limit.
  peer.send(...odd(8).map((id) => frame(1, 5, id, requestBlock())));
  for (const id of [11, 13, 15]) assert.equal((await peer.find('RST_STREAM', (f) => f.type === 3 && f.id === id)).payload.readUInt32BE(0), ERROR.refusedStream);
  assert.equal(exchanges.length, 5);
  assert.deepEqual(server.refusals, ['h2-stream-limit', 'h2-stream-limit', 'h2-stream-limit']);
});

test('a peer that asks and does not read is cut off before the answers fill the memory', async (t) => {
  const body = Buffer.alloc(1000);
  const { server, peer } = await start(t, {
    onRequest: (_head, exchange) => exchange.respond({ status: 200, headers: Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? `x-${i}` : `${i}`.repeat(1000))), bodyBytes: 0 }, true),
  }, Buffer.concat([PREFACE, settings([1, 0]), frame(4, 1, 0)]));
  peer.socket.pause();
  let id = 1;
  while (!server.refusals.includes('h2-unread') && id < 40_000) {
    if (!peer.socket.write(frame(1, 5, id, requestBlock()))) await new Promise((resolve) => setImmediate(resolve));
    if (peer.socket.destroyed) break;
    if (id % 50 === 1) await new Promise((resolve) => setImmediate(resolve));
    id += 2;
  }
  assert.deepEqual(server.refusals, ['h2-unread']);
  assert.equal(body.length, 1000);
});

test('a stream whose window stays shut is cut off after the idle limit, and its body let go', async (t) => {
  const clock = fakeClock();
  let why = '';
  const { server, peer } = await start(t, {
    clock,
    limits: { idleMs: 10_000 },
    onRequest: (_head, exchange) => {
      exchange.onAbort = (abort) => (why = abort.reason);
      exchange.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
      exchange.write(Buffer.alloc(10));
    },
  }, Buffer.concat([PREFACE, settings([4, 0]), frame(4, 1, 0)]));
  peer.send(frame(1, 5, 1, requestBlock()));
  await peer.find('a head', (f) => f.type === 1 && f.id === 1);
  await clock.advance(30_000);
  assert.equal((await peer.find('RST_STREAM', (f) => f.type === 3 && f.id === 1)).payload.readUInt32BE(0), ERROR.cancel);
  assert.equal(why, 'timeout');
  assert.deepEqual(server.refusals, ['h2-idle-timeout']);
});

for (const [name, hello, sent] of [
  ['a preface that never ends', PREFACE.subarray(0, 10), []],
  ['SETTINGS that never come', PREFACE, []],
  ['SETTINGS that are never acknowledged', Buffer.concat([PREFACE, settings()]), []],
  ['a block of fields that never ends', HELLO, [frame(1, 1, 1, requestBlock())]],
  ['a frame that never ends', HELLO, [frame(1, 5, 1, 'x', 100)]],
] as const) {
  test(`slowloris: ${name}`, async (t) => {
    const clock = fakeClock();
    const { server, peer } = await start(t, { clock }, hello);
    if (sent.length > 0) {
      peer.send(frame(6, 0, 0, Buffer.alloc(8)), ...sent);
      await peer.find('PING', (f) => f.type === 6);
    }
    await peer.find('SETTINGS', (f) => f.type === 4);
    await clock.advance(40_000);
    await goaway(peer);
    assert.deepEqual(server.refusals, ['h2-head-timeout']);
  });
}

test('a client that does not acknowledge SETTINGS is let be while an answer moves, and no longer', async (t) => {
  const clock = fakeClock();
  let exchange: ServerExchange | undefined;
  const { server, peer } = await start(t, { clock, onRequest: (_head, x) => (exchange = x) }, Buffer.concat([PREFACE, settings()]));
  peer.send(frame(1, 5, 1, requestBlock()), frame(6, 0, 0, Buffer.alloc(8)));
  await peer.find('PING', (f) => f.type === 6);
  assert.ok(exchange);
  exchange.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
  for (let i = 0; i < 10; i++) {
    exchange.write(Buffer.alloc(100));
    await clock.advance(5_000);
  }
  assert.deepEqual(server.refusals, []);
  await clock.advance(30_000);
  await goaway(peer);
  assert.deepEqual(server.refusals, ['h2-head-timeout']);
});

test('a connection without requests is ended in peace after the keep-alive limit', async (t) => {
  const clock = fakeClock();
  const { server, peer } = await start(t, { clock });
  await peer.find('an acknowledgement', (f) => f.type === 4 && f.flags === 1);
  await clock.advance(80_000);
  assert.equal((await peer.find('GOAWAY', (f) => f.type === 7)).payload.readUInt32BE(4), ERROR.none);
  await peer.closed();
  assert.deepEqual(server.refusals, []);
});

test('a body nobody takes is held to the window and not an octet more', async (t) => {
  const { server, peer } = await start(t, { limits: { bufferBytes: 65_536 }, onRequest: () => undefined });
  peer.send(frame(1, 4, 1, requestBlock('POST')), ...Array.from({ length: 4 }, () => frame(0, 0, 1, Buffer.alloc(16_384))), frame(6, 0, 0, Buffer.alloc(8)));
  await peer.find('PING', (f) => f.type === 6);
  assert.equal(peer.frames.some((f) => f.type === 8 && f.id === 1), false);
  peer.send(frame(0, 0, 1, Buffer.alloc(1)));
  assert.equal((await peer.find('RST_STREAM', (f) => f.type === 3)).payload.readUInt32BE(0), ERROR.flowControl);
  assert.deepEqual(server.refusals, ['h2-flow-control']);
});
