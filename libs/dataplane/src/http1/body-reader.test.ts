// Bodies as their heads framed them, in whatever pieces they come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { BodyReader } from './body-reader.ts';
import { HeadParser } from './head.ts';
import { REFUSED, SectionScanner } from './scan.ts';

class Taken {
  text = '';
  data(chunk: Buffer): void {
    this.text += chunk.toString('latin1');
  }
}

function makeReader(): BodyReader {
  const scanner = new SectionScanner(HTTP_LIMITS);
  return new BodyReader(scanner, new HeadParser(scanner, HTTP_LIMITS.targetBytes));
}

/** Gives `text` in pieces of so many octets, each in the middle of a read; where reading stopped, of all octets. */
function give(reader: BodyReader, text: string, size: number, taker: Taken): number {
  for (let at = 0; at < text.length; at += size) {
    const piece = text.slice(at, at + size);
    const next = reader.read(Buffer.from(`<${piece}>`, 'latin1'), 1, 1 + piece.length, taker);
    if (next === REFUSED) return REFUSED;
    if (reader.isDone) return at + next - 1;
  }
  return text.length;
}

for (const size of [1, 4, 100]) {
  test(`RFC 9112 §6.2: a body of a known length ends with its last octet, read ${size} at a time`, () => {
    const reader = makeReader();
    const taker = new Taken();
    reader.beginLength(5);
    assert.equal(reader.isDone, false);
    assert.equal(give(reader, 'helloGET /', size, taker), 5);
    assert.deepEqual([taker.text, reader.isDone, reader.trailers], ['hello', true, undefined]);
  });

  test(`RFC 9112 §7.1: a chunked body ends with its trailers, read ${size} at a time`, () => {
    const reader = makeReader();
    const taker = new Taken();
    const body = '3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n';
    reader.beginChunked();
    assert.equal(give(reader, `${body}GET /`, size, taker), body.length);
    assert.deepEqual([taker.text, reader.isDone, reader.trailers], ['hello', true, ['a', 'b']]);
  });

  test(`RFC 9112 §6.3: a body until the close is never done, read ${size} at a time`, () => {
    const reader = makeReader();
    const taker = new Taken();
    reader.beginUntilClose();
    assert.equal(give(reader, 'hello', size, taker), 5);
    assert.deepEqual([taker.text, reader.isDone, reader.isUntilClose], ['hello', false, true]);
  });
}

test('one reader reads bodies of all kinds, one after another, and none leaves anything to the next', () => {
  const reader = makeReader();
  const taker = new Taken();
  reader.beginChunked();
  give(reader, '1\r\na\r\n0\r\nT: u\r\n\r\n', 100, taker);
  reader.beginLength(1);
  give(reader, 'b', 100, taker);
  assert.deepEqual([reader.isDone, reader.trailers], [true, undefined]);
  reader.beginChunked();
  assert.deepEqual([reader.isDone, reader.trailers], [false, undefined]);
  give(reader, '1\r\nc\r\n0\r\n\r\n', 100, taker);
  reader.beginUntilClose();
  assert.equal(reader.isDone, false);
  assert.equal(taker.text, 'abc');
});

test('a malformed chunk is refused, with the reason', () => {
  const reader = makeReader();
  reader.beginChunked();
  assert.equal(give(reader, '1\r\nab\r\n', 100, new Taken()), REFUSED);
  assert.equal(reader.refused.code, 'bad-chunk-end');
});

test('a taker that gives the body up hears no more of the same read', () => {
  const reader = makeReader();
  let parts = 0;
  reader.beginChunked();
  reader.read(Buffer.from('1\r\na\r\n1\r\nb\r\n'), 0, 12, {
    data: () => {
      parts += 1;
      reader.stop();
    },
  });
  assert.equal(parts, 1);
});
