import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImportedService } from '@isthmus/model';
import { ImportTable } from './import-table.ts';

const payments = { namespace: 'shop', name: 'payments' };
const from = (cluster: string, readyCount = 1): ImportedService => ({
  ...payments,
  cluster,
  trustDomain: `${cluster}.acme.example`,
  ports: [{ name: 'http', port: 80, protocol: 'http' }],
  readyCount,
  totalCount: 1,
  readyWeight: 100,
  state: 'fresh',
  gateways: [],
  locality: '',
});

test('two clusters offering one name stand side by side, in the order of their names', () => {
  const table = new ImportTable();
  table.set(payments, 'west', from('west'));
  table.set(payments, 'east', from('east'));
  assert.deepEqual(table.of(payments).map((i) => i.cluster), ['east', 'west']);
  table.set(payments, 'west', undefined);
  assert.deepEqual(table.all().map((i) => i.cluster), ['east']);
});

test('saying the same again is no change', () => {
  const table = new ImportTable();
  assert.equal(table.set(payments, 'west', from('west')), true);
  assert.equal(table.set(payments, 'west', from('west')), false);
  assert.equal(table.set(payments, 'west', from('west', 2)), true);
  assert.equal(table.set(payments, 'north', undefined), false);
});
