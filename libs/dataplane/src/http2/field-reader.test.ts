// Heads and trailers out of HEADERS and CONTINUATION: what stands around a block, blocks in pieces, and what ends them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { FieldReader } from './field-reader.ts';
import { DECODED } from './hpack/decoder.ts';
import { ERROR, FLAG } from './protocol.ts';
import { block, requestBlock, word } from './testing.ts';

const { endHeaders, endStream, padded, priority } = FLAG;

function read(flags: number, payload: Buffer, id = 1): { reader: FieldReader; code: number | undefined } {
  const reader = new FieldReader(HTTP_LIMITS);
  // In the middle of a chunk, as frames are.
  const input = Buffer.concat([Buffer.from('before'), payload, Buffer.from('behind')]);
  return { reader, code: reader.headers(flags, id, input, 6, 6 + payload.length, 3)?.code };
}

test('6.2: a block in one frame is whole, and says whether anything follows', () => {
  const { reader, code } = read(endHeaders | endStream, requestBlock());
  assert.deepEqual([code, reader.openId, reader.isEnd, reader.result], [undefined, 0, true, DECODED.ok]);
  assert.equal(reader.fields.request('http', true)?.target, '/');
  assert.equal(read(endHeaders, requestBlock()).reader.isEnd, false);
});

test('6.2: padding and priority are taken off', () => {
  const payload = Buffer.concat([Buffer.from([3]), word(0x8000_0003), Buffer.from([16]), requestBlock(), Buffer.alloc(3)]);
  const { reader, code } = read(endHeaders | padded | priority, payload);
  assert.equal(code, undefined);
  assert.equal(reader.fields.request('http', false)?.authority, 'example.com');
});

for (const [name, flags, payload, expected] of [
  ['6.2: padding without its length', padded, Buffer.alloc(0), ERROR.frameSize],
  ['6.2: a priority cut off', priority, Buffer.alloc(4), ERROR.frameSize],
  ['6.2: padding longer than what is left', padded, Buffer.from([2, 0]), ERROR.protocol],
  ['5.3.1: a stream that depends on itself', priority, Buffer.concat([word(1), Buffer.alloc(1)]), ERROR.protocol],
  ['4.3: a block that does not decode', endHeaders, Buffer.from([0x80]), ERROR.compression],
] as const) {
  test(`${name} is a breach`, () => assert.equal(read(flags, payload).code, expected));
}

test('6.10: a block in several frames is open until END_HEADERS, and ends its stream as its first frame said', () => {
  const { reader } = read(endStream, requestBlock().subarray(0, 7), 5);
  assert.deepEqual([reader.openId, reader.openTick], [5, 3]);
  const rest = requestBlock().subarray(7);
  assert.equal(reader.continuation(0, rest, 0, 9), undefined);
  assert.equal(reader.openId, 5);
  assert.equal(reader.continuation(endHeaders, rest, 9, rest.length), undefined);
  assert.deepEqual([reader.openId, reader.isEnd], [0, true]);
  assert.equal(reader.fields.request('http', true)?.authority, 'example.com');
});

test('6.10: CONTINUATION with nothing to continue is a breach, also after a block was let go', () => {
  const { reader } = read(0, requestBlock());
  reader.drop();
  assert.equal(reader.continuation(endHeaders, requestBlock(), 0, 9)?.code, ERROR.protocol);
});

test('a block longer than any may be is refused before END_HEADERS (CVE-2024-27983)', () => {
  const { reader } = read(0, Buffer.alloc(HTTP_LIMITS.headerBytes));
  assert.equal(reader.continuation(0, Buffer.alloc(1), 0, 1)?.refusal, 'h2-continuation-flood');
});

test('4.3: fields over the limit leave the table in step', () => {
  const { reader, code } = read(endHeaders, Buffer.concat([Buffer.from([0x40, 1, 0x61, 1, 0x62]), block(...Array.from({ length: HTTP_LIMITS.headerCount }, () => ['a', 'b'] as const))]));
  assert.deepEqual([code, reader.result], [undefined, DECODED.tooLarge]);
  const next = Buffer.concat([requestBlock(), Buffer.from([0xbe])]);
  assert.equal(reader.headers(endHeaders, 3, next, 0, next.length, 4), undefined);
  assert.deepEqual(reader.fields.request('http', false)?.headers, ['a', 'b']);
});
