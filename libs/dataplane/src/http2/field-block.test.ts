import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FieldBlock } from './field-block.ts';

test('a block in several frames comes out whole, whatever becomes of the bytes it was read from', () => {
  const block = new FieldBlock(1_000);
  const read = Buffer.from('one');
  block.begin(5, 1, 7, read);
  read.fill(0);
  assert.equal(block.add(Buffer.from('two')), true);
  assert.deepEqual([block.id, block.flags, block.tick, block.bytes, block.frames], [5, 1, 7, 6, 2]);
  assert.equal(block.take().toString(), 'onetwo');
  assert.equal(block.id, 0);
});

test('a block is refused before its end: one byte past the limit, and in more frames than a block may have', () => {
  const long = new FieldBlock(10);
  long.begin(1, 0, 0, Buffer.alloc(10));
  assert.equal(long.add(Buffer.alloc(1)), false);
  const many = new FieldBlock(1_000);
  many.begin(1, 0, 0, Buffer.alloc(0));
  let taken = 0;
  while (many.add(Buffer.alloc(0))) taken += 1;
  assert.equal(taken, 16);
});
