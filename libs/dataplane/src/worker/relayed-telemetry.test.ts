import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMetrics } from '@isthmus/telemetry';
import type { LogMessage } from './messages.ts';
import { applyMetrics, RelayedLog, RelayedMetrics } from './relayed-telemetry.ts';

test('what a thread counts comes out of the process’s metrics, added up over hand-overs', async () => {
  const there = new RelayedMetrics();
  const here = openMetrics();
  const requests = there.counter('isthmus_a_total', 'A', ['service']);
  const bound = requests.bind({ service: 'x' });
  bound.inc();
  requests.inc({ service: 'x' }, 2);
  there.gauge('isthmus_b', 'B').set(7);
  there.histogram('isthmus_c', 'C', ['service'], [1, 2]).observe(1.5, { service: 'x' });
  applyMetrics(here, structuredClone(there.take()));
  bound.inc();
  there.gauge('isthmus_b', 'B').set(8);
  applyMetrics(here, structuredClone(there.take()));
  const text = await here.text();
  for (const line of ['isthmus_a_total{service="x"} 4', 'isthmus_b 8', 'isthmus_c_bucket{le="2",service="x"} 1', 'isthmus_c_sum{service="x"} 1.5']) assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`);
  assert.deepEqual(there.take(), []);
});

test('a label set that is removed there is removed here', async () => {
  const there = new RelayedMetrics();
  const here = openMetrics();
  const gauge = there.gauge('isthmus_b', 'B', ['endpoint']);
  gauge.set(1, { endpoint: 'a' });
  gauge.set(1, { endpoint: 'b' });
  applyMetrics(here, there.take());
  gauge.remove({ endpoint: 'a' });
  applyMetrics(here, there.take());
  const text = await here.text();
  assert.ok(text.includes('endpoint="b"') && !text.includes('endpoint="a"'));
});

test('the same name as another kind is refused there as here', () => {
  const there = new RelayedMetrics();
  there.counter('isthmus_a_total', 'A');
  assert.throws(() => there.gauge('isthmus_a_total', 'A'), /is a counter already/);
});

test('lines of the level asked for are handed over with their fields; too many in a second are counted instead', () => {
  const lines: LogMessage[] = [];
  const relayed = new RelayedLog('info', (line) => lines.push(line));
  const log = relayed.log().with({ service: 'x' });
  log.debug('not this');
  log.info('this', { n: 1 });
  assert.ok(!log.isEnabled('debug') && log.isEnabled('warn'));
  assert.deepEqual(lines, [{ kind: 'log', level: 'info', message: 'this', fields: { service: 'x', n: 1 } }]);
  for (let i = 0; i < 600; i++) log.warn('flood');
  assert.equal(lines.length, 500);
  relayed.tick();
  assert.deepEqual(lines.at(-1)?.fields, { heldBack: 101 });
  log.info('after');
  assert.equal(lines.at(-1)?.message, 'after');
});
