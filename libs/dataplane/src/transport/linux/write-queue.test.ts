import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { WriteQueue } from './write-queue.ts';

test('whatever sizes are pushed and however little the system takes, the same bytes leave in the same order', () => {
  const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 16_000, max: 17_000 }), fc.constant(70_000)), { minLength: 1, maxLength: 12 });
  fc.assert(fc.property(sizes, fc.infiniteStream(fc.integer({ min: 1, max: 80_000 })), (pushed, takes) => {
    const queue = new WriteQueue();
    const all = Buffer.concat(pushed.map((size, i) => Buffer.alloc(size, i + 1)));
    pushed.forEach((size, i) => queue.push(Buffer.alloc(size, i + 1)));
    assert.equal(queue.bytes, all.length);
    let at = 0;
    for (let next = queue.next(); next !== undefined; next = queue.next()) {
      const count = Math.min(queue.nextBytes, takes.next().value);
      assert.ok(next.subarray(0, count).equals(all.subarray(at, at + count)));
      at += count;
      queue.taken(count);
      assert.equal(queue.bytes, all.length - at);
    }
    assert.equal(at, all.length);
  }), { numRuns: 200 });
});

test('small chunks are offered together, a large one as it is', () => {
  const queue = new WriteQueue();
  const large = Buffer.alloc(20_000);
  for (const chunk of [Buffer.from('head'), Buffer.from('body')]) queue.push(chunk);
  assert.equal(queue.next()?.toString('latin1', 0, queue.nextBytes), 'headbody');
  queue.taken(8);
  queue.push(large);
  queue.push(Buffer.from('more'));
  assert.equal(queue.next(), large);
  queue.clear();
  assert.equal(queue.next(), undefined);
  assert.equal(queue.bytes, 0);
});
