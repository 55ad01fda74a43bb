import assert from 'node:assert/strict';
import test from 'node:test';
import type { ByteStream } from '../transport/transport.ts';
import { Output } from './output.ts';

/** A socket that takes everything at once and says that it was sent when told to. */
function open(): { readonly out: Output; readonly writes: Buffer[]; readonly sent: () => void } {
  const writes: Buffer[] = [];
  let told: () => void = () => undefined;
  const socket = {
    write: (chunk: Buffer) => writes.push(chunk) > 0,
    onSent: (fn: () => void) => (told = fn),
    atTurnEnd: () => undefined,
    cork: () => undefined,
    uncork: () => undefined,
    writableLength: 0,
  } as unknown as ByteStream;
  return { out: new Output(socket, () => undefined), writes, sent: () => told() };
}

const fill = (out: Output, id: number, letter: string): void => {
  const payload = Buffer.alloc(8000, letter);
  out.frame(0, 0, id, payload, 0, payload.length);
};

test('a slab is used again only once the socket has sent what is in it', () => {
  const { out, writes, sent } = open();
  const memories = new Set<ArrayBufferLike>();
  for (let i = 0; i < 200; i++) {
    fill(out, 1, 'a');
    out.flush();
    sent();
    memories.add((writes.at(-1) as Buffer).buffer);
  }
  assert.ok(memories.size <= 2, `${memories.size} slabs for one frame at a time`);

  writes.length = 0;
  for (let i = 0; i < 200; i++) {
    fill(out, i, String.fromCharCode(97 + (i % 26)));
    out.flush();
  }
  for (const [i, bytes] of writes.entries()) assert.ok(bytes.subarray(9).equals(Buffer.alloc(8000, String.fromCharCode(97 + (i % 26)))), `write ${i} was overwritten before it was sent`);
});

test('what another connection has not sent stays, whatever this one has', () => {
  const [a, b] = [open(), open()];
  for (let i = 0; i < 100; i++) {
    const payload = Buffer.alloc(300, 'b');
    b.out.frame(0, 0, 1, payload, 0, 300);
    b.out.flush();
    fill(a.out, 1, 'a');
    a.out.flush();
    a.sent();
  }
  assert.ok(b.writes.every((bytes) => bytes.subarray(9).equals(Buffer.alloc(300, 'b'))));
});
