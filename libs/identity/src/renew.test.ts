import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { fakeClock } from '@isthmus/runtime/testing';
import { silentLog } from '@isthmus/telemetry';
import { BACKDATE_MS, openRenewal, renewalDelayMs, type Validity } from './renew.ts';

const HOUR_MS = 3_600_000;
const issuedAt = (nowMs: number, ttlMs = HOUR_MS): Validity => ({ notBeforeMs: nowMs - BACKDATE_MS, expiresAtMs: nowMs + ttlMs });

test('a certificate is renewed at half its life, give or take a tenth', () => {
  const nowMs = 1_000_000_000;
  for (const { random, ratio } of [
    { random: 0, ratio: 0.4 },
    { random: 0.5, ratio: 0.5 },
    { random: 1, ratio: 0.6 },
  ]) {
    assert.equal(renewalDelayMs(issuedAt(nowMs), nowMs, random), HOUR_MS * ratio);
  }
});

test('the backdating of a short-lived certificate does not make it due at once', () => {
  assert.equal(renewalDelayMs(issuedAt(0, 10_000), 0, 0.5), 5_000);
});

test('after an outage the soonest to expire comes first', () => {
  const nearlyOut = renewalDelayMs({ notBeforeMs: 0, expiresAtMs: HOUR_MS }, HOUR_MS - 60_000, 0.9);
  const overHalf = renewalDelayMs({ notBeforeMs: 0, expiresAtMs: HOUR_MS }, HOUR_MS * 0.7, 0.9);
  assert.ok(nearlyOut < 6_001, `${nearlyOut}`);
  assert.ok(nearlyOut < overHalf);
});

test('an expired certificate is renewed at once, without a hot loop', () => {
  assert.equal(renewalDelayMs({ notBeforeMs: 0, expiresAtMs: 1 }, HOUR_MS, 1), 500);
});

test('renewal swaps at half life and tells its listeners', async () => {
  const clock = fakeClock();
  let requests = 0;
  const renewal = openRenewal({
    request: async () => (requests++, issuedAt(clock.nowMs())),
    initial: issuedAt(clock.nowMs()),
    clock,
    random: () => 0.5,
    log: silentLog(),
  });
  const heard: number[] = [];
  renewal.onChange((next) => heard.push(next.expiresAtMs));
  await clock.advance(HOUR_MS / 2 - 1);
  assert.equal(requests, 0);
  await clock.advance(1);
  assert.equal(requests, 1);
  assert.deepEqual(heard, [clock.nowMs() + HOUR_MS]);
  await clock.advance(HOUR_MS / 2);
  assert.equal(requests, 2);
  renewal.close();
  assert.equal(clock.pending(), 0);
});

test('while the issuer is away the old one stays, tries go on, and the first success is taken', async () => {
  const clock = fakeClock();
  let isAway = true;
  let failures = 0;
  const first = issuedAt(clock.nowMs());
  const renewal = openRenewal({
    request: async () => {
      if (isAway) throw new Error('away');
      return issuedAt(clock.nowMs());
    },
    initial: first,
    clock,
    random: () => 0.5,
    log: silentLog(),
    onError: () => failures++,
  });
  await clock.advance(HOUR_MS);
  assert.equal(renewal.current(), first);
  assert.ok(failures > 10 && failures < 200, `tries are neither given up nor a storm: ${failures}`);
  isAway = false;
  await clock.advance(120_000);
  assert.notEqual(renewal.current(), first);
  renewal.close();
});

test('a request that never answers is given up at its limit and made again', async () => {
  const clock = fakeClock();
  const signals: AbortSignal[] = [];
  const renewal = openRenewal<Validity>({
    request: (signal) => {
      signals.push(signal);
      return new Promise(() => undefined);
    },
    initial: undefined,
    clock,
    random: () => 0.5,
    log: silentLog(),
    requestTimeoutMs: 1_000,
  });
  await clock.advance(10_000);
  assert.ok(signals.length > 1);
  assert.equal(signals[0]?.aborted, true);
  renewal.close();
  assert.equal(signals.at(-1)?.aborted, true);
});

test('without a first certificate one is asked for at once', async () => {
  const clock = fakeClock();
  const renewal = openRenewal({ request: async () => issuedAt(clock.nowMs()), clock, random: () => 0.5, log: silentLog() });
  assert.equal(renewal.current(), undefined);
  await clock.advance(0);
  assert.ok(renewal.current());
  renewal.close();
});

test('row 91: a machine that slept renews within ten seconds of waking, and a clock set back delays nothing', async () => {
  const awake = fakeClock();
  // Asleep, timers and the monotonic clock stand still and the wall clock goes on.
  let sleptMs = 0;
  const clock = { ...awake, nowMs: () => awake.nowMs() + sleptMs };
  let requests = 0;
  const renewal = openRenewal({ request: async () => (requests++, issuedAt(clock.nowMs())), initial: issuedAt(clock.nowMs()), clock, random: () => 0.5, log: silentLog() });
  await awake.advance(60_000);
  assert.equal(requests, 0);
  sleptMs = HOUR_MS;
  await awake.advance(10_000);
  assert.equal(requests, 1, 'after the sleep');
  sleptMs = -5 * HOUR_MS;
  await awake.advance(HOUR_MS / 2 + 1);
  assert.equal(requests, 2, 'with the clock set back');
  renewal.close();
  assert.equal(awake.pending(), 0);
});

test('row 40: an issuer that is busy is left alone for as long as it said', async () => {
  const clock = fakeClock();
  const askedAtMs: number[] = [];
  const busy = new IsthmusError('IDENTITY_BUSY', 'exhausted', 'busy', { facts: { retryAfterMs: 20_000 } });
  const renewal = openRenewal<Validity>({
    request: () => {
      askedAtMs.push(clock.monotonicMs());
      return askedAtMs.length < 3 ? Promise.reject(busy) : Promise.resolve(issuedAt(clock.nowMs()));
    },
    clock,
    random: () => 0.5,
    log: silentLog(),
  });
  await clock.advance(60_000);
  assert.deepEqual(askedAtMs, [0, 21_000, 42_000]);
  renewal.close();
});
