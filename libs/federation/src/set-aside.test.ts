import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { SetAside } from './set-aside.ts';

function opened() {
  const warned: object[] = [];
  const refusals = openMetrics().counter('isthmus_federation_refused_records_total', 'Records of peers set aside', ['source_cluster', 'reason']);
  const log = { ...silentLog(), warn: (_text: string, fields: object = {}) => void warned.push(fields) };
  return { aside: new SetAside({ cluster: 'west', refusals, log }), warned };
}

test('a record is set aside with its reason, which is logged once; only what may be good later is given back, and once', () => {
  const { aside, warned } = opened();
  aside.add('k1', 'untrusted', 'no bundle', Buffer.from('one'));
  aside.add('k1', 'untrusted', 'no bundle', Buffer.from('one'));
  aside.add('k2', 'malformed', 'no JSON', undefined);
  assert.deepEqual([aside.size, aside.lastReason, warned.length], [2, 'k2: malformed: no JSON', 2]);
  assert.deepEqual(aside.takeRetriable(), [{ key: 'k1', bytes: Buffer.from('one') }]);
  assert.deepEqual([aside.takeRetriable(), aside.keys()], [[], ['k2']]);
  aside.delete('k2');
  assert.equal(aside.size, 0);
});

test('a thousand are kept; one that is kept already may change', () => {
  const { aside } = opened();
  for (let i = 0; i < 1_001; i += 1) aside.add(`k${i}`, 'malformed', '', undefined);
  aside.add('k0', 'untrusted', '', Buffer.from('x'));
  assert.deepEqual([aside.size, aside.keys().includes('k1000'), aside.takeRetriable().length], [1_000, false, 1]);
});
