import assert from 'node:assert/strict';
import test from 'node:test';
import { openMetrics } from './metrics.ts';

test('counters, gauges and histograms come out in the Prometheus text format with help and labels', async () => {
  const metrics = openMetrics();
  metrics.counter('isthmus_requests_total', 'Requests', ['service']).inc({ service: 'payments' }, 3);
  metrics.gauge('isthmus_connections', 'Open connections').set(7);
  metrics.histogram('isthmus_wait_seconds', 'Waiting', [], [0.1, 1]).observe(0.5);
  const text = await metrics.text();
  assert.match(text, /# HELP isthmus_requests_total Requests\n# TYPE isthmus_requests_total counter\nisthmus_requests_total\{service="payments"\} 3\n/);
  assert.match(text, /\nisthmus_connections 7\n/);
  assert.match(text, /isthmus_wait_seconds_bucket\{le="0.1"\} 0\nisthmus_wait_seconds_bucket\{le="1"\} 1\n/);
});

test('asking for a name again gives the same metric, as another kind is refused', async () => {
  const metrics = openMetrics();
  metrics.counter('isthmus_a_total', 'A').inc();
  metrics.counter('isthmus_a_total', 'A').inc();
  assert.match(await metrics.text(), /\nisthmus_a_total 2\n/);
  assert.throws(() => metrics.gauge('isthmus_a_total', 'A'), /is a counter already/);
});

test('a counter bound to its labels counts together with the counter itself', async () => {
  const metrics = openMetrics();
  const counter = metrics.counter('isthmus_requests_total', 'Requests', ['service']);
  const bound = counter.bind({ service: 'payments' });
  assert.doesNotMatch(await metrics.text(), /payments/);
  bound.inc();
  counter.bind({ service: 'payments' }).inc(2);
  counter.inc({ service: 'payments' });
  for (let i = 0; i < 2; i++) assert.match(await metrics.text(), /isthmus_requests_total\{service="payments"\} 4\n/);
});

test('a name without the prefix is refused', () => {
  assert.throws(() => openMetrics().gauge('connections', 'C'), TypeError);
});

test('past a thousand label sets new ones are folded into `other` and counted, known ones go on', async () => {
  const metrics = openMetrics();
  const counter = metrics.counter('isthmus_names_total', 'Names', ['name']);
  for (let i = 0; i < 1_500; i++) counter.inc({ name: `n${i}` });
  counter.inc({ name: 'n0' });
  const text = await metrics.text();
  assert.equal(text.match(/^isthmus_names_total\{/gm)?.length, 1_001);
  assert.match(text, /isthmus_names_total\{name="other"\} 500\n/);
  assert.match(text, /isthmus_names_total\{name="n0"\} 2\n/);
  assert.match(text, /isthmus_metric_label_sets_folded_total\{metric="isthmus_names_total"\} 500\n/);
});

test('a removed label set is gone from the text and makes room for another', async () => {
  const metrics = openMetrics();
  const counter = metrics.counter('isthmus_names_total', 'Names', ['name']);
  for (let i = 0; i < 1_000; i++) counter.inc({ name: `n${i}` });
  counter.remove({ name: 'n7' });
  counter.remove({ name: 'never seen' });
  counter.inc({ name: 'new' });
  const gauge = metrics.gauge('isthmus_now', 'Now', ['name']);
  gauge.set(3, { name: 'a' });
  gauge.remove({ name: 'a' });
  const text = await metrics.text();
  assert.doesNotMatch(text, /name="n7"/);
  assert.match(text, /isthmus_names_total\{name="new"\} 1\n/);
  assert.doesNotMatch(text, /^isthmus_now\{/m);
});

test('two metric sets of one process do not know each other', async () => {
  const [one, other] = [openMetrics(), openMetrics()];
  one.gauge('isthmus_x', 'X').set(1);
  assert.doesNotMatch(await other.text(), /isthmus_x/);
});
