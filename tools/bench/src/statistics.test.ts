import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, percentile, ratioOf, spread } from './statistics.ts';

test('the median is the middle value, or halfway between the two in the middle, in whatever order they come', () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([10, 1, 2, 3]), 2.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test('a percentile lies between its neighbours', () => {
  const values = Array.from({ length: 101 }, (_, i) => i);
  assert.equal(percentile(values, 0.99), 99);
  assert.equal(percentile([0, 10], 0.25), 2.5);
});

test('the spread is half the range as a share of the median, also of negative values, and 0 of one value', () => {
  assert.equal(spread([90, 100, 110]), 0.1);
  assert.equal(spread([-90, -100, -110]), 0.1);
  assert.equal(spread([5]), 0);
  assert.equal(spread([0, 0]), 0);
});

test('a ratio compares what was measured in the same round', () => {
  assert.equal(ratioOf([10, 30, 20], [10, 20, 20]), 1, 'medians alone would say 1 too');
  assert.equal(ratioOf([10, 30, 40], [10, 15, 40]), 1, 'medians alone would say 2');
  assert.equal(ratioOf([10], []), Number.NaN);
  assert.equal(ratioOf([10, 10], [5, -3]), Number.NaN, 'a peer that seems to add less than nothing was not measured well');
});
