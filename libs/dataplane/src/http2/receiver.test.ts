// Raw frames in, and what a server must make of them: RFC 9113 section by section. Codes are in protocol.ts.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { ERROR, PREFACE } from './protocol.ts';
import { block, connectRaw, echo, frame, HELLO, RawPeer, requestBlock, settings, startServer, type TestServer, word } from './testing.ts';

let server: TestServer;
before(async () => {
  server = await startServer({ onRequest: echo });
});
after(() => server.close());

const GET = (id = 1): Buffer => frame(1, 5, id, requestBlock());
const POST = (id = 1, ...more: readonly (readonly [string, string])[]): Buffer => frame(1, 4, id, requestBlock('POST', ...more));
const DATA = (id: number, text: string, flags = 1): Buffer => frame(0, flags, id, text);
const WITHOUT_SETTINGS = PREFACE;
const big = 0x7fff_ffff;

/** What a case expects: the code of GOAWAY, the code of RST_STREAM on the stream, or an answer with status 200 on it. */
type Expected = { readonly goaway: number } | { readonly reset: number; readonly id?: number } | { readonly answered: number };

const CASES: readonly (readonly [section: string, name: string, send: readonly Buffer[], expected: Expected, hello?: Buffer])[] = [
  // 3.4 preface
  ['3.4', 'a frame before SETTINGS', [frame(6, 0, 0, Buffer.alloc(8))], { goaway: ERROR.protocol }, WITHOUT_SETTINGS],
  ['3.4', 'DATA before SETTINGS', [DATA(1, 'x')], { goaway: ERROR.protocol }, WITHOUT_SETTINGS],
  ['3.4', 'an acknowledgement instead of SETTINGS', [frame(4, 1, 0)], { goaway: ERROR.protocol }, WITHOUT_SETTINGS],
  ['3.4', 'HTTP/1.1', [], { goaway: ERROR.protocol }, Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
  ['3.4', 'a preface with a wrong octet', [], { goaway: ERROR.protocol }, Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\rX')],
  // 4.1 frame format
  ['4.1', 'an unknown frame type', [frame(0xee, 0xff, 0, 'whatever'), GET()], { answered: 1 }],
  ['4.1', 'an unknown frame on a stream nobody opened', [frame(0xee, 0, 9, 'whatever'), GET()], { answered: 1 }],
  ['4.1', 'undefined flags', [frame(6, 0xfe, 0, Buffer.alloc(8)), GET()], { answered: 1 }],
  ['4.1', 'the reserved bit', [frame(1, 5, 0x8000_0001, requestBlock())], { answered: 1 }],
  // 4.2 frame size
  ['4.2', 'DATA over 16384 octets', [POST(), DATA(1, 'x'.repeat(16_385))], { goaway: ERROR.frameSize }],
  ['4.2', 'DATA of 16384 octets', [POST(), DATA(1, 'x'.repeat(16_384))], { answered: 1 }],
  ['4.2', 'HEADERS over 16384 octets', [frame(1, 5, 1, Buffer.alloc(16_385))], { goaway: ERROR.frameSize }],
  // 4.3 field section compression
  ['4.3', 'a block that does not decode', [frame(1, 5, 1, [0x80])], { goaway: ERROR.compression }],
  ['4.3', 'a block of trailers that does not decode', [POST(), frame(1, 5, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])], { goaway: ERROR.compression }],
  ['4.3', 'PRIORITY inside a block', [frame(1, 0, 1, requestBlock()), frame(2, 0, 1, Buffer.alloc(5))], { goaway: ERROR.protocol }],
  ['4.3', 'HEADERS of another stream inside a block', [frame(1, 0, 1, requestBlock()), GET(3)], { goaway: ERROR.protocol }],
  ['4.3', 'DATA inside a block', [frame(1, 0, 1, requestBlock()), DATA(1, 'x')], { goaway: ERROR.protocol }],
  ['4.3', 'an unknown frame inside a block', [frame(1, 0, 1, requestBlock()), frame(0xee, 0, 1)], { goaway: ERROR.protocol }],
  // 5.1 stream states
  ['5.1', 'idle: DATA', [DATA(1, 'x')], { goaway: ERROR.protocol }],
  ['5.1', 'idle: RST_STREAM', [frame(3, 0, 1, word(8))], { goaway: ERROR.protocol }],
  ['5.1', 'idle: WINDOW_UPDATE', [frame(8, 0, 1, word(8))], { goaway: ERROR.protocol }],
  ['5.1', 'idle: CONTINUATION', [frame(9, 4, 1, requestBlock())], { goaway: ERROR.protocol }],
  ['5.1', 'idle: PRIORITY', [frame(2, 0, 7, [0, 0, 0, 0, 1]), GET()], { answered: 1 }],
  ['5.1', 'closed by both: DATA', [GET(), frame(6, 0, 0, Buffer.alloc(8)), DATA(1, 'x')], { goaway: ERROR.streamClosed }],
  ['5.1', 'closed by both: HEADERS', [GET(), GET()], { goaway: ERROR.streamClosed }],
  ['5.1', 'closed by RST_STREAM: DATA', [POST(), frame(3, 0, 1, word(8)), DATA(1, 'x')], { goaway: ERROR.streamClosed }],
  ['5.1', 'closed by RST_STREAM: HEADERS', [POST(), frame(3, 0, 1, word(8)), frame(1, 5, 1, block(['a', 'b']))], { goaway: ERROR.streamClosed }],
  ['5.1', 'closed: RST_STREAM, WINDOW_UPDATE and PRIORITY pass', [GET(), frame(3, 0, 1, word(8)), frame(8, 0, 1, word(8)), frame(2, 0, 1, [0, 0, 0, 0, 1]), GET(3)], { answered: 3 }],
  ['5.1', 'reset here: late DATA is let go', [frame(1, 4, 1, block([':method', 'GET'])), DATA(1, 'late'), GET(3)], { answered: 3 }],
  ['5.1', 'reset here: late trailers keep the table in step', [frame(1, 4, 1, block([':method', 'GET'])), frame(1, 5, 1, [0x40, 1, 0x61, 1, 0x62]), frame(1, 5, 3, Buffer.concat([requestBlock(), Buffer.from([0xbe])]))], { answered: 3 }],
  ['5.1.1', 'an even stream', [GET(2)], { goaway: ERROR.protocol }],
  ['5.1.1', 'a lower stream than the last', [GET(5), GET(3)], { goaway: ERROR.streamClosed }],
  ['5.1.1', 'a gap between streams', [GET(77)], { answered: 77 }],
  // 5.3 priority, deprecated
  ['5.3.1', 'HEADERS that depend on themselves', [frame(1, 0x25, 1, Buffer.concat([word(1), Buffer.from([9]), requestBlock()]))], { goaway: ERROR.protocol }],
  ['5.3.1', 'PRIORITY that depends on itself', [frame(2, 0, 1, [0, 0, 0, 1, 9])], { goaway: ERROR.protocol }],
  ['5.3', 'HEADERS with a priority', [frame(1, 0x25, 1, Buffer.concat([word(0x8000_0000), Buffer.from([9]), requestBlock()]))], { answered: 1 }],
  // 6.1 DATA
  ['6.1', 'DATA on stream 0', [DATA(0, 'x')], { goaway: ERROR.protocol }],
  ['6.1', 'padding longer than the frame', [POST(), frame(0, 9, 1, [9, 0])], { goaway: ERROR.protocol }],
  ['6.1', 'padded DATA', [POST(), frame(0, 9, 1, [2, 0x61, 0, 0])], { answered: 1 }],
  // 6.2 HEADERS
  ['6.2', 'HEADERS on stream 0', [frame(1, 5, 0, requestBlock())], { goaway: ERROR.protocol }],
  ['6.2', 'padding longer than the frame', [frame(1, 0xd, 1, [200, 0x82])], { goaway: ERROR.protocol }],
  ['6.2', 'padding without its length', [frame(1, 0xd, 1)], { goaway: ERROR.frameSize }],
  ['6.2', 'priority cut off', [frame(1, 0x25, 1, [0, 0, 0])], { goaway: ERROR.frameSize }],
  ['6.2', 'padded HEADERS', [frame(1, 0xd, 1, Buffer.concat([Buffer.from([3]), requestBlock(), Buffer.alloc(3)]))], { answered: 1 }],
  // 6.3 PRIORITY
  ['6.3', 'PRIORITY on stream 0', [frame(2, 0, 0, Buffer.alloc(5))], { goaway: ERROR.protocol }],
  ['6.3', 'PRIORITY of a wrong length on an open stream', [POST(), frame(2, 0, 1, Buffer.alloc(4))], { reset: ERROR.frameSize }],
  // 6.4 RST_STREAM
  ['6.4', 'RST_STREAM on stream 0', [frame(3, 0, 0, word(8))], { goaway: ERROR.protocol }],
  ['6.4', 'RST_STREAM of three octets', [POST(), frame(3, 0, 1, [0, 0, 8])], { goaway: ERROR.frameSize }],
  // 6.5 SETTINGS
  ['6.5', 'an acknowledgement with content', [frame(4, 1, 0, [0])], { goaway: ERROR.frameSize }],
  ['6.5', 'SETTINGS on a stream', [frame(4, 0, 1)], { goaway: ERROR.protocol }],
  ['6.5', 'SETTINGS of seven octets', [frame(4, 0, 0, Buffer.alloc(7))], { goaway: ERROR.frameSize }],
  ['6.5.2', 'ENABLE_PUSH of 2', [settings([2, 2])], { goaway: ERROR.protocol }],
  ['6.5.2', 'INITIAL_WINDOW_SIZE of 2^31', [settings([4, 0x8000_0000])], { goaway: ERROR.flowControl }],
  ['6.5.2', 'MAX_FRAME_SIZE of 16383', [settings([5, 16_383])], { goaway: ERROR.protocol }],
  ['6.5.2', 'MAX_FRAME_SIZE of 2^24', [settings([5, 0x100_0000])], { goaway: ERROR.protocol }],
  ['6.5.2', 'a setting nobody knows', [settings([0xff, 1]), GET()], { answered: 1 }],
  ['8441 3', 'ENABLE_CONNECT_PROTOCOL of 2', [settings([8, 2])], { goaway: ERROR.protocol }],
  // 6.6 PUSH_PROMISE
  ['6.6', 'PUSH_PROMISE by a client', [frame(5, 4, 1, [0, 0, 0, 2, 0x82])], { goaway: ERROR.protocol }],
  // 6.7 PING
  ['6.7', 'PING on a stream', [frame(6, 0, 1, Buffer.alloc(8))], { goaway: ERROR.protocol }],
  ['6.7', 'PING of seven octets', [frame(6, 0, 0, Buffer.alloc(7))], { goaway: ERROR.frameSize }],
  ['6.7', 'an answer to no PING', [frame(6, 1, 0, Buffer.alloc(8)), GET()], { answered: 1 }],
  // 6.8 GOAWAY
  ['6.8', 'GOAWAY on a stream', [frame(7, 0, 1, Buffer.alloc(8))], { goaway: ERROR.protocol }],
  ['6.8', 'GOAWAY of seven octets', [frame(7, 0, 0, Buffer.alloc(7))], { goaway: ERROR.frameSize }],
  // 6.9 WINDOW_UPDATE
  ['6.9', 'WINDOW_UPDATE of three octets', [frame(8, 0, 0, [0, 0, 1])], { goaway: ERROR.frameSize }],
  ['6.9', 'WINDOW_UPDATE by 0 on the connection', [frame(8, 0, 0, word(0))], { goaway: ERROR.protocol }],
  ['6.9', 'WINDOW_UPDATE by 0 on a stream', [POST(), frame(8, 0, 1, word(0))], { goaway: ERROR.protocol }],
  ['6.9.1', 'the connection window over 2^31-1', [frame(8, 0, 0, word(big))], { goaway: ERROR.flowControl }],
  ['6.9.1', 'a stream window over 2^31-1', [POST(), frame(8, 0, 1, word(big))], { reset: ERROR.flowControl }],
  ['6.9.2', 'a stream window over 2^31-1 by SETTINGS', [POST(), frame(8, 0, 1, word(big - 65_535)), settings([4, 65_536])], { goaway: ERROR.flowControl }],
  // 6.10 CONTINUATION
  ['6.10', 'fields in three frames', [frame(1, 1, 1, requestBlock().subarray(0, 9)), frame(9, 0, 1, requestBlock().subarray(9, 20)), frame(9, 4, 1, requestBlock().subarray(20))], { answered: 1 }],
  ['6.10', 'CONTINUATION on stream 0', [frame(1, 1, 1, requestBlock()), frame(9, 4, 0)], { goaway: ERROR.protocol }],
  ['6.10', 'CONTINUATION of another stream', [frame(1, 1, 1, requestBlock()), frame(9, 4, 3)], { goaway: ERROR.protocol }],
  ['6.10', 'CONTINUATION behind END_HEADERS', [GET(), frame(9, 4, 1, block(['a', 'b']))], { goaway: ERROR.protocol }],
  // 8.1 messages
  ['8.1', 'HEADERS behind END_STREAM', [frame(1, 5, 1, requestBlock('POST')), frame(1, 5, 1, block(['a', 'b']))], { goaway: ERROR.streamClosed }],
  ['8.1', 'trailers without END_STREAM', [POST(), frame(1, 4, 1, block(['a', 'b']))], { reset: ERROR.protocol }],
  ['8.1', 'trailers with a pseudo-header', [POST(), frame(1, 5, 1, block([':method', 'GET']))], { reset: ERROR.protocol }],
  ['8.1', 'trailers', [POST(), DATA(1, 'x', 0), frame(1, 5, 1, block(['a', 'b']))], { answered: 1 }],
  ['8.1.1', 'more body than content-length', [POST(1, ['content-length', '2']), DATA(1, 'xxx')], { reset: ERROR.protocol }],
  ['8.1.1', 'more body than content-length, in two frames', [POST(1, ['content-length', '2']), DATA(1, 'xx', 0), DATA(1, 'x')], { reset: ERROR.protocol }],
  ['8.1.1', 'less body than content-length', [POST(1, ['content-length', '4']), DATA(1, 'xxx')], { reset: ERROR.protocol }],
  ['8.1.1', 'less body than content-length, ended by trailers', [POST(1, ['content-length', '4']), DATA(1, 'xxx', 0), frame(1, 5, 1, block(['a', 'b']))], { reset: ERROR.protocol }],
  ['8.1.1', 'as much body as content-length', [POST(1, ['content-length', '3']), DATA(1, 'x', 0), DATA(1, 'xx')], { answered: 1 }],
  ['8.2.1', 'an upper-case name', [frame(1, 5, 1, requestBlock('GET', ['X-A', 'b']))], { reset: ERROR.protocol }],
  ['8.2.1', 'a line break in a value', [frame(1, 5, 1, requestBlock('GET', ['x', 'a\r\nb: c']))], { reset: ERROR.protocol }],
  ['8.2.1', 'a NUL in a value', [frame(1, 5, 1, requestBlock('GET', ['x', 'a\0']))], { reset: ERROR.protocol }],
  ['8.2.2', 'connection', [frame(1, 5, 1, requestBlock('GET', ['connection', 'close']))], { reset: ERROR.protocol }],
  ['8.2.2', 'transfer-encoding', [POST(1, ['transfer-encoding', 'chunked'])], { reset: ERROR.protocol }],
  ['8.2.2', 'te: gzip', [frame(1, 5, 1, requestBlock('GET', ['te', 'gzip']))], { reset: ERROR.protocol }],
  ['8.2.2', 'te: trailers', [frame(1, 5, 1, requestBlock('GET', ['te', 'trailers']))], { answered: 1 }],
  ['8.3', 'a pseudo-header behind a field', [frame(1, 5, 1, block([':method', 'GET'], [':scheme', 'http'], ['a', 'b'], [':path', '/'], [':authority', 'a']))], { reset: ERROR.protocol }],
  ['8.3', 'an unknown pseudo-header', [frame(1, 5, 1, requestBlock('GET', [':x', 'y']))], { reset: ERROR.protocol }],
  ['8.3.1', 'a request without :method', [frame(1, 5, 1, block([':scheme', 'http'], [':path', '/'], [':authority', 'a']))], { reset: ERROR.protocol }],
  ['8.3.1', 'a repeated :path', [frame(1, 5, 1, Buffer.concat([block([':path', '/']), requestBlock()]))], { reset: ERROR.protocol }],
  ['8.3.1', 'host against :authority', [frame(1, 5, 1, requestBlock('GET', ['host', 'other']))], { reset: ERROR.protocol }],
  ['8.3.1', 'a malformed request leaves the connection alone', [frame(1, 5, 1, requestBlock('GET', ['host', 'other'])), GET(3)], { answered: 3 }],
];

for (const [section, name, send, expected, hello] of CASES) {
  test(`${section}: ${name}`, async () => {
    const peer = await connectRaw(server.port, hello ?? HELLO);
    // One turn each: what came before is handled on its own, as it mostly is in life.
    for (const chunk of send) peer.send(chunk);
    if ('goaway' in expected) {
      const { payload } = await peer.find('GOAWAY', (f) => f.type === 7);
      assert.equal(payload.readUInt32BE(4), expected.goaway, payload.toString('latin1', 8));
      await peer.closed();
    } else if ('reset' in expected) {
      const { payload } = await peer.find('RST_STREAM', (f) => f.type === 3 && f.id === (expected.id ?? 1));
      assert.equal(payload.readUInt32BE(0), expected.reset);
      // The connection goes on.
      peer.send(GET(101));
      await peer.find('an answer', (f) => f.type === 1 && f.id === 101);
    } else await peer.find('an answer', (f) => f.type === 1 && f.id === expected.answered);
    peer.socket.destroy();
  });
}

test('6.5.3: SETTINGS are acknowledged', async () => {
  const peer = await connectRaw(server.port);
  await peer.find('an acknowledgement', (f) => f.type === 4 && f.flags === 1);
  peer.socket.destroy();
});

test('6.7: PING comes back with its eight octets', async () => {
  const peer = await connectRaw(server.port);
  peer.send(frame(6, 0, 0, 'abcdefgh'));
  assert.equal((await peer.find('PING', (f) => f.type === 6)).payload.toString(), 'abcdefgh');
  peer.socket.destroy();
});

test('bytes read before the connection was handed over count as its first', async () => {
  const { serveHttp2 } = await import('./server.ts');
  const { HTTP_LIMITS } = await import('../http/exchange.ts');
  const { systemClock } = await import('@isthmus/runtime');
  const listener = net.createServer((socket) => {
    socket.once('data', (first: Buffer) => {
      socket.pause();
      serveHttp2(socket, { limits: HTTP_LIMITS, clock: systemClock, peer: 1, scheme: 'http', handlers: { onRequest: echo, onRefused: () => undefined }, first });
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as net.AddressInfo;
  const peer = new RawPeer(net.connect(port, '127.0.0.1'));
  peer.send(HELLO, GET());
  await peer.find('an answer', (f) => f.type === 1 && f.id === 1);
  peer.send(GET(3));
  await peer.find('an answer', (f) => f.type === 1 && f.id === 3);
  peer.socket.destroy();
  listener.close();
});
