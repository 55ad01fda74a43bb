import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tombstones } from './tombstone.ts';

test('forbids what is no newer than the removal and lets newer words pass', () => {
  const stones = new Tombstones();
  stones.lay('k', { epoch: 2, sequence: 5 });
  const forbidden = [[1, 9], [2, 4], [2, 5]].map(([epoch, sequence]) => stones.forbids('k', epoch!, sequence!));
  assert.deepEqual(forbidden, [true, true, true]);
  assert.equal(stones.forbids('k', 2, 6), false);
  assert.equal(stones.forbids('k', 3, 0), false);
  assert.equal(stones.forbids('other', 0, 0), false);
});

test('remembers the newest removals up to its limit', () => {
  const stones = new Tombstones(2);
  for (const key of ['a', 'b', 'c']) stones.lay(key, { epoch: 1, sequence: 1 });
  assert.deepEqual(['a', 'b', 'c'].map((k) => stones.forbids(k, 1, 1)), [false, true, true]);
});
