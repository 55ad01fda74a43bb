import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, NAME } from '../conformance/rig.ts';
import { writeProxyHeader } from '../proxy-protocol.ts';
import { HelloPieces } from './hello-pieces.ts';

const SOURCE = { ip: Buffer.from([10, 0, 0, 1]), port: 1 };
const DESTINATION = { ip: Buffer.from([10, 0, 0, 2]), port: 2 };
const HEADER = writeProxyHeader(SOURCE, DESTINATION);

/** Pushed from one piece of memory that is used again, as it is where they are read. */
function push(pieces: HelloPieces, bytes: Buffer): ReturnType<HelloPieces['push']> {
  const room = Buffer.from(bytes);
  const result = pieces.push(room);
  room.fill(0);
  return result;
}

test('a hello cut anywhere, also within a PROXY header before it, is found and kept as it came', () => {
  for (const [isProxied, all] of [[false, HELLO], [true, Buffer.concat([HEADER, HELLO])]] as const) {
    for (let at = 1; at < all.length; at++) {
      const pieces = new HelloPieces(isProxied);
      assert.equal(push(pieces, all.subarray(0, at)).kind, 'need-more');
      assert.deepEqual(push(pieces, all.subarray(at)), { kind: 'hello', serverName: NAME });
      assert.deepEqual(pieces.bytes, HELLO);
      assert.deepEqual(pieces.addresses, isProxied ? { source: SOURCE, destination: DESTINATION } : undefined);
    }
  }
});

test('an end before the hello is whole is called by what was missing', () => {
  const after = (isProxied: boolean, ...chunks: Buffer[]): string => {
    const pieces = new HelloPieces(isProxied);
    for (const chunk of chunks) push(pieces, chunk);
    return pieces.earlyEnd;
  };
  assert.equal(after(false), 'no-hello');
  assert.equal(after(false, HELLO.subarray(0, 9)), 'malformed');
  assert.equal(after(true), 'no-hello');
  assert.equal(after(true, HEADER.subarray(0, 9)), 'proxy-protocol');
  assert.equal(after(true, HEADER), 'no-hello');
  assert.equal(after(true, HEADER, HELLO.subarray(0, 9)), 'malformed');
});

test('what is no PROXY header where one is expected is refused as such', () => {
  assert.deepEqual(push(new HelloPieces(true), HELLO), { kind: 'refused', reason: 'proxy-protocol' });
});
