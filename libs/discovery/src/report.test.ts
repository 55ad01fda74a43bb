import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReportState } from './report.ts';
import { aRegistration } from './testing.ts';

const one = aRegistration({ instance: 'one' });
const two = aRegistration({ instance: 'two' });

test('nothing is said before the agent knows its workloads', () => {
  assert.equal(new ReportState(() => 1).next(), undefined);
});

test('a stream is told everything first, also that there is nothing', () => {
  const state = new ReportState(() => 1);
  state.set([]);
  assert.deepEqual(state.next(), { full: true, registrations: [], removed: [] });
});

test('then only what changed, and of several states only the last', () => {
  const state = new ReportState(() => 1);
  state.set([one, two]);
  state.next();
  state.set([{ ...one, health: 'unhealthy' }, two]);
  state.set([{ ...one, health: 'draining' }]);
  const next = state.next();
  assert.deepEqual(next?.registrations.map((r) => [r.instance, r.health]), [['one', 'draining']]);
  assert.deepEqual(next?.removed, ['shop/payments/a1.two']);
  assert.equal(state.next(), undefined);
});

test('a new stream is told everything again', () => {
  const state = new ReportState(() => 1);
  state.set([one]);
  state.next();
  state.restart();
  assert.equal(state.next()?.full, true);
});

test('sequences grow with each change, also across a removal, whatever the clock does', () => {
  let nowMs = 1_000;
  const state = new ReportState(() => nowMs);
  const sequenceOf = (): number => state.next()?.registrations[0]?.sequence ?? -1;
  state.set([one]);
  const first = sequenceOf();
  nowMs = 500;
  state.set([]);
  state.next();
  state.set([one]);
  const second = sequenceOf();
  assert.ok(second > first, `${second} after ${first}`);
});
