// Which streams are open, idle or closed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stream } from './stream.ts';
import { Streams } from './streams.ts';

// Of a stream nothing but its number is looked at here.
const stream = (id: number): Stream => ({ id }) as Stream;

test('5.1.1: streams up to the last one opened are not idle, higher and even ones are', () => {
  const streams = new Streams();
  streams.lastId = 5;
  assert.deepEqual([1, 3, 5, 7, 2, 0].map((id) => streams.isIdle(id)), [false, false, false, true, true, true]);
});

test('5.1: a stream is open until it is taken out, which happens once', () => {
  const streams = new Streams();
  const one = stream(1);
  streams.add(one);
  streams.add(stream(3));
  assert.deepEqual([streams.count, streams.get(1), streams.get(5)], [2, one, undefined]);
  assert.deepEqual([streams.remove(one), streams.remove(one)], [true, false]);
  assert.deepEqual([streams.count, streams.get(1)], [1, undefined]);
});

test('all streams may be gone through while they end', () => {
  const streams = new Streams();
  for (const id of [1, 3, 5]) streams.add(stream(id));
  for (const each of streams.all()) streams.remove(each);
  assert.equal(streams.count, 0);
});

test('at the end all are taken out before any of them is told', () => {
  const streams = new Streams();
  for (const id of [1, 3]) streams.add(stream(id));
  assert.deepEqual(streams.takeAll().map(({ id }) => id), [1, 3]);
  assert.equal(streams.count, 0);
});

test('5.1: streams reset here are known for a while, and forgotten once the peer has closed them too', () => {
  const streams = new Streams();
  assert.equal(streams.wasReset(1), false);
  for (let id = 1; id <= 2 * 128 + 1; id += 2) streams.noteReset(id);
  assert.equal(streams.wasReset(1), false, 'the oldest went first');
  assert.equal(streams.wasReset(3), true);
  streams.forgetReset(3);
  assert.equal(streams.wasReset(3), false);
});
