import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DURATION_BOUNDS_MS, Ledger, type LedgerDelta, mergeDeltas } from './ledger.ts';

const account = (over: object = {}) => ({ service: 'shop/payments', endpoint: 'a', bytesIn: 0, bytesOut: 0, openChange: 0, connectFailures: 0, ...over });

function drained(ledger: Ledger): LedgerDelta {
  const delta = ledger.drain();
  assert.ok(delta !== undefined);
  return delta;
}

test('bytes of a connection are there while it is still open, each once', () => {
  const ledger = new Ledger();
  const open = ledger.opened('shop/payments', 'a');
  open.bytesIn += 10;
  assert.deepEqual(drained(ledger).accounts, [account({ bytesIn: 10, openChange: 1 })]);
  assert.equal(ledger.drain(), undefined, 'nothing has happened since');
  open.bytesOut += 7;
  assert.deepEqual(drained(ledger).accounts, [account({ bytesOut: 7 })]);
  ledger.closed(open, 'complete', 5);
  const last = drained(ledger);
  assert.deepEqual(last.accounts, [account({ openChange: -1 })]);
  assert.deepEqual(last.services.get('shop/payments')?.ends, { complete: 1 });
});

test('an endpoint’s connections are counted from the dial on, and a failed dial is one no more', () => {
  const ledger = new Ledger();
  const first = ledger.opened('shop/payments', 'a');
  const second = ledger.opened('shop/payments', 'a');
  assert.equal(ledger.connectionsOf('shop/payments', 'a'), 2);
  ledger.connectFailed(first);
  assert.equal(ledger.connectionsOf('shop/payments', 'a'), 1);
  assert.equal(ledger.connectionsOf('shop/payments', 'b'), 0);
  ledger.drain();
  ledger.closed(second, 'reset', 0);
  assert.equal(ledger.connectionsOf('shop/payments', 'a'), 0);
});

test('an account nobody holds is forgotten with the drain, an open one is the same after it', () => {
  const ledger = new Ledger();
  const kept = ledger.opened('shop/payments', 'a');
  ledger.drain();
  assert.equal(ledger.opened('shop/payments', 'a'), kept);
  ledger.closed(kept, 'complete', 0);
  ledger.closed(kept, 'complete', 0);
  ledger.drain();
  assert.notEqual(ledger.opened('shop/payments', 'a'), kept);
});

test('durations fall in the bucket whose bound they do not exceed', () => {
  const ledger = new Ledger();
  for (const ms of [10, 10.5, 100, 4_000_000]) ledger.ended('s', 'idle', ms);
  const ends = drained(ledger).services.get('s');
  assert.deepEqual(ends?.durations, [1, 2, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual(ends?.durationSumsMs, [10, 110.5, 0, 0, 0, 0, 0, 4_000_000]);
  assert.equal(ends?.durations.length, DURATION_BOUNDS_MS.length + 1);
});

test('deltas survive a structured clone and add up, whichever way they are cut', () => {
  const script = (ledger: Ledger, cut: () => void): void => {
    const a = ledger.opened('s', 'a');
    a.bytesIn += 5;
    cut();
    a.bytesOut += 6;
    ledger.connectFailed(ledger.opened('s', 'b'));
    ledger.refused('no-sni');
    cut();
    ledger.refused('no-sni');
    ledger.refused('not-tls');
    ledger.closed(a, 'reset', 20);
    ledger.ended('t', 'overloaded', 1);
  };
  const whole = new Ledger();
  script(whole, () => undefined);
  const cut = new Ledger();
  const parts: LedgerDelta[] = [];
  script(cut, () => parts.push(structuredClone(drained(cut))));
  parts.push(structuredClone(drained(cut)));
  const byName = (x: { endpoint: string }, y: { endpoint: string }): number => x.endpoint.localeCompare(y.endpoint);
  const merged = parts.reduce(mergeDeltas);
  assert.deepEqual({ ...merged, accounts: merged.accounts.toSorted(byName) }, drained(whole));
});
