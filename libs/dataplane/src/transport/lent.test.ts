import assert from 'node:assert/strict';
import test from 'node:test';
import { isLent, kept, lentRoom } from './lent.ts';

test('what is lent is copied by who keeps it, and nothing else is', () => {
  const chunk = lentRoom().subarray(0, 5);
  chunk.write('first');
  const copy = kept(chunk);
  lentRoom().write('other');
  assert.equal(copy.toString(), 'first');
  assert.ok(isLent(chunk) && !isLent(copy));
  const own = Buffer.from('own');
  assert.equal(kept(own), own);
});
