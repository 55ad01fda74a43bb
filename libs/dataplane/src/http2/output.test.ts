import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import test from 'node:test';
import type { ByteStream } from '../transport/transport.ts';
import { Output } from './output.ts';
import { RawPeer } from './testing.ts';

/** An output on a stream whose far end collects what was written, in the pieces it was written in. */
function open(): { readonly out: Output; readonly writes: Buffer[]; readonly duplex: Duplex } {
  const writes: Buffer[] = [];
  const duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      writes.push(Buffer.from(chunk));
      done();
    },
  });
  return { out: new Output(duplex as unknown as ByteStream, () => undefined), writes, duplex };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

function framesOf(bytes: Buffer): RawPeer['frames'] {
  const duplex = new Duplex({ read: () => undefined, write: () => undefined });
  const peer = new RawPeer(duplex);
  duplex.emit('data', bytes);
  return peer.frames;
}

test('all frames of one turn leave in one write', async () => {
  const { out, writes } = open();
  out.word(8, 0, 100);
  out.frame(0, 0, 1, Buffer.from('hello'), 0, 5);
  out.word(3, 1, 8);
  assert.equal(out.pendingBytes, 13 + 14 + 13);
  await turn();
  assert.equal(writes.length, 1);
  assert.deepEqual(framesOf(writes[0]!).map((f) => [f.type, f.id, f.payload.length]), [[8, 0, 4], [0, 1, 5], [3, 1, 4]]);
});

test('two connections that take turns in one slab keep their bytes apart', async () => {
  const [a, b] = [open(), open()];
  for (let i = 0; i < 50; i++) {
    a.out.frame(0, 0, 1, Buffer.alloc(100, 'a'), 0, 100);
    b.out.frame(0, 0, 1, Buffer.alloc(100, 'b'), 0, 100);
    if (i % 10 === 0) await turn();
  }
  await turn();
  for (const [one, letter] of [[a, 'a'], [b, 'b']] as const) {
    const frames = framesOf(Buffer.concat(one.writes));
    assert.equal(frames.length, 50);
    assert.ok(frames.every((f) => f.payload.equals(Buffer.alloc(100, letter))));
  }
});

test('more than a slab holds comes out whole and in order, long chunks without a copy', async () => {
  const { out, writes } = open();
  const sizes = [10, 60_000, 3000, 8192, 8193, 5, 8000, 8000, 8000, 8000, 8000, 8000, 8000, 8000, 8000, 8000, 1];
  for (const [i, size] of sizes.entries()) out.frame(0, 0, i + 1, Buffer.alloc(size, i), 0, size);
  await turn();
  const frames = framesOf(Buffer.concat(writes));
  assert.deepEqual(frames.map((f) => f.payload.length), sizes);
  assert.ok(frames.every((f, i) => f.id === i + 1 && f.payload.every((octet) => octet === i)));
});

test('END_STREAM goes on the last frame while it is here, and only if it is the stream’s', async () => {
  const { out, writes } = open();
  out.frame(0, 0, 1, Buffer.from('x'), 0, 1);
  assert.equal(out.endLast(3), false);
  assert.equal(out.endLast(1), true);
  assert.equal(out.endLast(1), false);
  const long = Buffer.alloc(20_000);
  out.frame(0, 0, 5, long, 0, long.length);
  assert.equal(out.endLast(5), true);
  out.frame(0, 0, 7, long, 0, 5);
  out.word(8, 0, 1);
  assert.equal(out.endLast(7), false);
  await turn();
  assert.deepEqual(framesOf(Buffer.concat(writes)).map((f) => f.flags), [1, 1, 0, 0]);
  out.frame(0, 0, 9, long, 0, 5);
  out.flush();
  assert.equal(out.endLast(9), false);
});

test('what was handed over is counted, and a closed output writes no more', async () => {
  const { out, writes } = open();
  out.word(8, 0, 1);
  assert.deepEqual([out.flushedBytes, out.writtenBytes], [0, 13]);
  out.flush();
  assert.deepEqual([out.flushedBytes, out.writtenBytes], [13, 13]);
  out.word(8, 0, 1);
  out.close();
  await turn();
  assert.equal(Buffer.concat(writes).length, 13);
});

test('a socket that takes no more makes it congested', () => {
  const duplex = new Duplex({ writableHighWaterMark: 100, read: () => undefined, write: () => undefined });
  let flushes = 0;
  const out = new Output(duplex as unknown as ByteStream, () => flushes++);
  out.word(8, 0, 1);
  out.flush();
  assert.deepEqual([out.isCongested, flushes], [false, 1]);
  out.frame(0, 0, 1, Buffer.alloc(200), 0, 200);
  out.flush();
  assert.deepEqual([out.isCongested, flushes], [true, 1]);
  assert.equal(out.unsentBytes, 13 + 209);
});
