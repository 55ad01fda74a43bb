import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Measured } from '../run.ts';
import { WORKLOADS } from '../workloads/all.ts';
import type { ContenderName, Sample } from '../workloads/workload.ts';
import { documentOf, keptName } from './document.ts';
import { exitCodeOf, resultsOf } from './results.ts';
import { endText, workloadText } from './text.ts';

const connect = WORKLOADS.find(({ name }) => name === 'l4-connect')!;
const measured = (values: Partial<Record<ContenderName, readonly number[]>>): Measured => ({
  workload: connect,
  samples: new Map(Object.entries(values).map(([name, list]) => [name as ContenderName, list.map((cpu): Sample => ({ cpu, throughput: 1e6 / cpu }))])),
  absent: new Map([['envoy', 'not installed']]),
  errors: [],
  notes: ['a note'],
});

test('a result holds medians, ratios of ours to each peer, spreads and the judgement', () => {
  const [cpu] = resultsOf(measured({ isthmus: [70, 80, 90], nginx: [100, 100, 100], haproxy: [79, 79, 79] }));
  assert.equal(cpu?.ours, 80);
  assert.deepEqual(cpu?.peers, { nginx: 100, haproxy: 79 });
  assert.deepEqual(cpu?.ratio, { nginx: 0.8, haproxy: 1.013 });
  assert.equal(cpu?.spread['isthmus'], 0.125);
  assert.equal(cpu?.aim, '≤ 1 × nginx, ≤ 1 × haproxy');
  assert.equal(cpu?.ok, false);
});

test('the aim is not judged where a peer it names is missing', () => {
  assert.equal(resultsOf(measured({ isthmus: [50], nginx: [100] }))[0]?.ok, null);
});

test('a figure of ours that is missing is null, not 0', () => {
  const [cpu] = resultsOf(measured({ nginx: [100], haproxy: [90] }));
  assert.equal(cpu?.ours, null);
  assert.deepEqual(cpu?.ratio, {});
  assert.equal(cpu?.ok, null);
});

test('the table has a column and a ratio for each peer, and names who is not in it', () => {
  const one = measured({ isthmus: [70, 80, 90], haproxy: [79, 79, 79], nginx: [160, 160, 160] });
  const lines = workloadText(one, resultsOf(one)).split('\n');
  assert.match(lines[1] ?? '', /unit +isthmus +nginx +haproxy +÷ nginx +÷ haproxy +aim/);
  assert.match(lines[2] ?? '', /cpu +µs per connection +80\.0 ±13% +160 ±0% +79\.0 ±0% +0\.50 +1\.01 .*MISSED/);
  assert.ok(lines.includes('  without envoy: not installed'));
  assert.ok(lines.includes('  a note'));
});

test('the end counts aims and names each that is missed', () => {
  const text = endText(resultsOf(measured({ isthmus: [80], nginx: [100], haproxy: [79] })), ['x fell over']);
  assert.match(text, /^error: x fell over\nmissed: l4-connect cpu: 80 µs per connection, aim/);
  assert.match(text, /0 aims met, 1 missed, 0 that could not be judged/);
});

test('the document has versions and machine, and no path', () => {
  const machine = { cpu: 'AMD Ryzen(TM) 7 PRO', cores: 8, memoryGiB: 16, system: 'Linux 6', architecture: 'x64' };
  const document = documentOf({ results: [], programs: [{ name: 'nginx', path: '/here/nginx', version: '1.2' }], missing: [{ name: 'envoy', hint: 'h' }], errors: [], rounds: 3, isQuick: false, machine }, new Date(0));
  assert.deepEqual(document, { date: '1970-01-01T00:00:00.000Z', rounds: 3, quick: false, machine, versions: { node: process.version, nginx: '1.2' }, missing: [{ name: 'envoy', hint: 'h' }], errors: [], results: [] });
  assert.equal(keptName(machine, new Date(0)), '1970-01-01T0000z-amd-ryzen-7-8-cores');
});

test('a missed aim ends a run with 1 only when asked for; a fault of the harness always ends it with 70', () => {
  const missed = resultsOf(measured({ isthmus: [80], nginx: [100], haproxy: [79] }));
  const met = resultsOf(measured({ isthmus: [70], nginx: [100], haproxy: [79] }));
  assert.equal(exitCodeOf(missed, [], false), 0);
  assert.equal(exitCodeOf(missed, [], true), 1);
  assert.equal(exitCodeOf(met, [], true), 0);
  assert.equal(exitCodeOf(met, ['nginx fell over'], false), 70);
});
