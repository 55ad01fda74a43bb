// The record of a walk: a step that throws is a failed step, and a walk holds only if every step does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fail } from '../errors.ts';
import { openTour } from './report.ts';

function tour() {
  const lines: string[] = [];
  const record = openTour({ tour: 'main', store: 'embedded', stdout: { write: (text: string) => lines.push(text) > 0 } });
  return { record, lines };
}

test('steps that hold make a report that holds, one line a step', async () => {
  const { record, lines } = tour();
  assert.equal(await record.step('first', async () => ({ detail: 'took 3 ms', measured: { tookMs: 3 } })), true);
  record.figure('speed', 7);
  const report = record.report();
  assert.equal(report.ok, true);
  assert.deepEqual([report.steps[0]?.name, report.steps[0]?.ok, report.steps[0]?.detail, report.steps[0]?.measured], ['first', true, 'took 3 ms', { tookMs: 3 }]);
  assert.deepEqual(report.figures, { speed: 7 });
  assert.match(lines.join(''), /^ok {3}first \(\d+ ms\): took 3 ms\n$/);
});

test('a step that throws is a failed step with the reason, and the walk can go on', async () => {
  const { record, lines } = tour();
  assert.equal(await record.step('breaks', () => Promise.reject(fail('CLI_TIMEOUT', 'nothing came', { hint: 'wait' }))), false);
  await record.step('goes-on', async () => ({ detail: 'fine' }));
  const report = record.report();
  assert.equal(report.ok, false);
  assert.deepEqual(report.steps.map((s) => [s.name, s.ok]), [['breaks', false], ['goes-on', true]]);
  assert.equal(report.steps[0]?.detail, 'nothing came (wait)');
  assert.match(lines[0] ?? '', /^FAIL breaks/);
});

test('a walk without steps has shown nothing', () => {
  assert.equal(tour().record.report().ok, false);
});
