import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { BoundedQueue } from './bounded-queue.ts';

async function drain<T>(queue: BoundedQueue<T>): Promise<T[]> {
  queue.close();
  return Array.fromAsync(queue);
}

test('a full queue that drops the oldest keeps the newest in order, and counts', async () => {
  const queue = new BoundedQueue<number>(3, 'drop-oldest');
  assert.deepEqual([1, 2, 3, 4, 5].map((n) => queue.push(n)), [true, true, true, true, true]);
  assert.equal(queue.dropped, 2);
  assert.deepEqual(await drain(queue), [3, 4, 5]);
});

test('a full queue that refuses keeps the oldest, and says so to the pusher', async () => {
  const queue = new BoundedQueue<number>(2, 'refuse');
  assert.deepEqual([1, 2, 3].map((n) => queue.push(n)), [true, true, false]);
  assert.equal(queue.dropped, 1);
  assert.deepEqual(await drain(queue), [1, 2]);
});

test('a consumer that waits gets what comes, and ends when the queue is closed', async () => {
  const queue = new BoundedQueue<string>(2, 'refuse');
  const got: string[] = [];
  const consuming = (async () => {
    for await (const item of queue) got.push(item);
  })();
  await new Promise(setImmediate);
  queue.push('a');
  await new Promise(setImmediate);
  queue.push('b');
  queue.close();
  assert.equal(queue.push('too late'), false);
  await consuming;
  assert.deepEqual(got, ['a', 'b']);
});

test('whatever is pushed and taken, never more than the limit waits and order is kept', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 8 }), fc.constantFrom('drop-oldest' as const, 'refuse' as const), fc.array(fc.boolean(), { maxLength: 60 }), async (limit, whenFull, steps) => {
      const queue = new BoundedQueue<number>(limit, whenFull);
      const taken: number[] = [];
      const consumer = queue[Symbol.asyncIterator]();
      let next = 0;
      for (const isPush of steps) {
        if (isPush) queue.push(next++);
        else if (queue.size > 0) taken.push((await consumer.next()).value as number);
        assert.ok(queue.size <= limit);
      }
      queue.close();
      for (let step = await consumer.next(); step.done !== true; step = await consumer.next()) taken.push(step.value);
      assert.deepEqual(taken, taken.toSorted((a, b) => a - b));
      assert.equal(taken.length + queue.dropped, next);
    }),
    { numRuns: 200 },
  );
});
