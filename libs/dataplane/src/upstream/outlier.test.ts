// Ejection by connect failures, on a clock that moves only when told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outliers } from './outlier.ts';

function outliers() {
  let nowMs = 0;
  return { set: new Outliers({ nowMs: () => nowMs, random: () => 0.999_999 }), pass: (ms: number) => void (nowMs += ms) };
}

const fail = (set: Outliers, times: number): void => {
  for (let i = 0; i < times; i++) set.failed('a');
};

test('two failures in a row keep an endpoint, the third ejects it for a second', () => {
  const { set, pass } = outliers();
  fail(set, 2);
  assert.equal(set.isEjected('a'), false);
  assert.equal(set.failed('a'), true);
  assert.equal(set.isEjected('a'), true);
  pass(1_000);
  assert.equal(set.isEjected('a'), false);
});

test('a success in between starts the count again', () => {
  const { set } = outliers();
  fail(set, 2);
  set.succeeded('a');
  fail(set, 2);
  assert.equal(set.isEjected('a'), false);
});

test('the n-th ejection lasts n seconds, thirty at most, and needs one failure only', () => {
  const { set, pass } = outliers();
  fail(set, 3);
  for (let n = 2; n <= 40; n++) {
    pass(60_000);
    assert.equal(set.failed('a'), true, `ejection ${n}`);
    pass(Math.min(30_000, n * 1_000) - 10);
    assert.equal(set.isEjected('a'), true, `ejection ${n} ended early`);
    pass(10);
    assert.equal(set.isEjected('a'), false, `ejection ${n} lasts too long`);
  }
});

test('failures of attempts that were under way when it was ejected do not make the next ejection longer', () => {
  const { set, pass } = outliers();
  fail(set, 50);
  pass(1_000);
  assert.equal(set.isEjected('a'), false);
});

test('jitter shortens an ejection by a quarter at most', () => {
  let nowMs = 0;
  const set = new Outliers({ nowMs: () => nowMs, random: () => 0 });
  fail(set, 3);
  nowMs = 749;
  assert.equal(set.isEjected('a'), true);
  nowMs = 750;
  assert.equal(set.isEjected('a'), false);
});

test('endpoints that are gone are forgotten', () => {
  const { set } = outliers();
  fail(set, 3);
  set.retain(new Set(['b']));
  assert.equal(set.isEjected('a'), false);
});
