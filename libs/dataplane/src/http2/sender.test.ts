// What leaves and when: DATA as the windows of its stream and of the connection let it through.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PREFACE } from './protocol.ts';
import { connectRaw, echo, frame, requestBlock, settings, startServer, type TestServer, word } from './testing.ts';

let server: TestServer;
before(async () => {
  server = await startServer({ onRequest: echo });
});
after(() => server.close());

const POST = (id = 1): Buffer => frame(1, 4, id, requestBlock('POST'));
const DATA = (id: number, text: string, flags = 1): Buffer => frame(0, flags, id, text);

test('6.9: a body waits for the window of its stream, byte by byte', async () => {
  const peer = await connectRaw(server.port, Buffer.concat([PREFACE, settings([4, 3]), frame(4, 1, 0)]));
  peer.send(POST(), DATA(1, 'hello world'));
  assert.equal((await peer.find('DATA', (f) => f.type === 0)).payload.toString(), 'hel');
  peer.send(frame(8, 0, 1, word(2)));
  assert.equal((await peer.find('DATA', (f) => f.type === 0)).payload.toString(), 'lo');
  peer.send(settings([4, 4]));
  const more = await peer.find('DATA', (f) => f.type === 0);
  assert.deepEqual([more.payload.toString(), more.flags], [' ', 0]);
  peer.send(frame(8, 0, 1, word(100)));
  const last = await peer.find('DATA', (f) => f.type === 0);
  assert.deepEqual([last.payload.toString(), last.flags], ['world', 1]);
  peer.socket.destroy();
});

test('6.9.2: a window made negative by SETTINGS is paid back before anything is sent', async () => {
  const peer = await connectRaw(server.port, Buffer.concat([PREFACE, settings([4, 3]), frame(4, 1, 0)]));
  peer.send(POST(), DATA(1, 'hello'));
  await peer.find('DATA', (f) => f.type === 0);
  peer.send(settings([4, 1]), frame(8, 0, 1, word(2)), frame(6, 0, 0, Buffer.alloc(8)));
  await peer.find('PING', (f) => f.type === 6);
  assert.equal(peer.frames.some((f) => f.type === 0), false);
  peer.send(frame(8, 0, 1, word(2)));
  assert.equal((await peer.find('DATA', (f) => f.type === 0)).payload.toString(), 'lo');
  peer.socket.destroy();
});

test('6.9: the window of the connection holds all streams, which then go on in turn', async () => {
  const peer = await connectRaw(server.port, Buffer.concat([PREFACE, settings([4, 1_000_000]), frame(4, 1, 0)]));
  for (const id of [1, 3]) peer.send(POST(id), ...Array.from({ length: 8 }, (_, i) => DATA(id, 'x'.repeat(16_384), i === 7 ? 1 : 0)));
  const got = new Map([[1, 0], [3, 0]]);
  const total = (): number => [...got.values()].reduce((a, b) => a + b);
  const readTo = async (bytes: number): Promise<void> => {
    while (total() < bytes) {
      const { id, payload } = await peer.find('DATA', (f) => f.type === 0);
      got.set(id, (got.get(id) ?? 0) + payload.length);
    }
    assert.equal(total(), bytes);
  };
  await readTo(65_535);
  const before = new Map(got);
  peer.send(frame(8, 0, 0, word(32_768)));
  await readTo(65_535 + 32_768);
  for (const id of [1, 3]) assert.equal((got.get(id) ?? 0) - (before.get(id) ?? 0), 16_384, `a frame of stream ${id}`);
  peer.send(frame(8, 0, 0, word(1_000_000)));
  await readTo(2 * 131_072);
  assert.deepEqual([...got.values()], [131_072, 131_072]);
  peer.socket.destroy();
});
