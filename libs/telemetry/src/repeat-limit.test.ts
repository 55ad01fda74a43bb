import assert from 'node:assert/strict';
import test from 'node:test';
import { RepeatLimit } from './repeat-limit.ts';

test('ten of a kind pass in ten seconds, the rest is held back and told of with the next one', () => {
  const limit = new RepeatLimit();
  const answers = Array.from({ length: 25 }, (_, i) => limit.admit('a', i));
  assert.deepEqual(answers.map((a) => a.ok), [...Array(10).fill(true), ...Array(15).fill(false)]);
  assert.deepEqual(limit.admit('a', 9_999), { ok: false });
  assert.deepEqual(limit.admit('a', 10_000), { ok: true, heldBack: 16 });
  assert.deepEqual(limit.admit('a', 20_000), { ok: true, heldBack: 0 });
});

test('lines of different kinds do not count for each other', () => {
  const limit = new RepeatLimit();
  for (let i = 0; i < 20; i++) limit.admit('a', 0);
  assert.deepEqual(limit.admit('b', 0), { ok: true, heldBack: 0 });
});

test('what was held back when the log closes is handed out once', () => {
  const limit = new RepeatLimit();
  for (let i = 0; i < 12; i++) limit.admit('a', 0);
  limit.admit('b', 0);
  assert.deepEqual(limit.takeHeldBack(), [{ key: 'a', heldBack: 2 }]);
  assert.deepEqual(limit.takeHeldBack(), []);
});

test('endless new kinds of lines do not grow its memory: the first is forgotten, and so passes anew', () => {
  const limit = new RepeatLimit();
  for (let i = 0; i < 11; i++) limit.admit('first', 0);
  assert.equal(limit.admit('first', 0).ok, false);
  for (let i = 0; i < 1_000; i++) limit.admit(`other ${i}`, 0);
  assert.deepEqual(limit.admit('first', 1), { ok: true, heldBack: 0 });
});
