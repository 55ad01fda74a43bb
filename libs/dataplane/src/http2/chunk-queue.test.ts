import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ChunkQueue } from './chunk-queue.ts';

test('bytes come out in order and none is lost, whatever is pushed and taken', () => {
  const step = fc.oneof(fc.record({ push: fc.integer({ min: 0, max: 600 }) }), fc.record({ take: fc.integer({ min: 1, max: 3000 }) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new ChunkQueue();
      const [pushed, taken]: [Buffer[], Buffer[]] = [[], []];
      let next = 0;
      for (const s of steps) {
        if ('push' in s) {
          const chunk = Buffer.from(Array.from({ length: s.push }, () => next++ & 0xff));
          pushed.push(Buffer.from(chunk));
          queue.push(chunk);
        } else {
          const chunk = queue.shift(s.take);
          assert.ok(chunk.length <= s.take);
          taken.push(chunk);
        }
      }
      const rest = [];
      while (queue.bytes > 0) rest.push(queue.shift(1000));
      assert.deepEqual(Buffer.concat([...taken, ...rest]), Buffer.concat(pushed));
    }),
  );
});

test('a hundred thousand chunks of one octet cost little more than their octets', () => {
  const queue = new ChunkQueue();
  const one = Buffer.from('x');
  for (let i = 0; i < 100_000; i++) queue.push(one);
  let pieces = 0;
  while (queue.bytes > 0) {
    queue.shift(1 << 20);
    pieces++;
  }
  assert.ok(pieces <= 100_000 / 2048 + 2, `${pieces} pieces`);
});

test('a long chunk is passed on as it is', () => {
  const queue = new ChunkQueue();
  const chunk = Buffer.alloc(10_000);
  queue.push(chunk);
  assert.equal(queue.shift(1 << 20), chunk);
});

test('an emptied queue gives nothing and takes again', () => {
  const queue = new ChunkQueue();
  queue.push(Buffer.from('gone'));
  queue.clear();
  assert.equal(queue.shift(10).length, 0);
  queue.push(Buffer.from('new'));
  assert.equal(queue.shift(10).toString(), 'new');
  assert.equal(queue.bytes, 0);
});
