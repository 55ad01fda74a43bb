import assert from 'node:assert/strict';
import test from 'node:test';
import { formatDuration, parseDuration } from './duration.ts';

test('durations are a number and one unit', () => {
  for (const [text, ms] of [['250ms', 250], ['5s', 5_000], ['1.5s', 1_500], ['1m', 60_000], ['24h', 86_400_000], ['90d', 7_776_000_000], ['0s', 0]] as const) {
    assert.deepEqual(parseDuration(text), { ok: true, value: ms }, text);
  }
  for (const bad of ['', '5', 's', '-5s', '5 s', '1h5m', '5S', '1e3s', '5s\n', '.5s', '5.s', 'Infinitys']) assert.ok(!parseDuration(bad).ok, bad);
});

test('durations are shown by their two largest units', () => {
  for (const [ms, text] of [[0, '0ms'], [850, '850ms'], [1_000, '1s'], [200_000, '3m 20s'], [3_900_000, '1h 5m'], [90_061_000, '1d 1h'], [59_999, '1m'], [3_600_000, '1h']] as const) {
    assert.equal(formatDuration(ms), text, String(ms));
  }
});

test('a duration just under a second does not read as a thousand milliseconds', () => {
  assert.notEqual(formatDuration(999.6), '1000ms');
});
