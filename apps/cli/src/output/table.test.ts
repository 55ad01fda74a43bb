// Output: tables without escape codes off a terminal, JSON for programs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDocument, formatTable, printRows } from './table.ts';

const rows = [{ name: 'a', port: 1 }, { name: 'longer', port: undefined }];
const columns = [['name', (r: (typeof rows)[0]) => r.name], ['port', (r: (typeof rows)[0]) => r.port]] as const;

function printed(output: 'table' | 'json', list: readonly (typeof rows)[0][]): string {
  let text = '';
  const stdout = { write: (chunk: string) => (text += chunk) !== '', isTTY: false } as unknown as NodeJS.WriteStream;
  printRows({ stdout, output }, list, columns);
  return text;
}

test('a table has a heading, aligned columns, a dash for what is not there, and no escape codes', () => {
  assert.equal(formatTable(rows, columns, false), 'NAME    PORT\na       1\nlonger  -');
});

test('JSON output is the rows themselves, an empty list too', () => {
  assert.deepEqual(JSON.parse(printed('json', rows)), [{ name: 'a', port: 1 }, { name: 'longer' }]);
  assert.deepEqual(JSON.parse(printed('json', [])), []);
});

test('an empty table says so', () => {
  assert.equal(printed('table', []), 'none\n');
});

test('a nested document is one aligned line a value', () => {
  assert.equal(formatDocument({ expiresAtMs: 0, ageMs: 5 }), 'expiresAtMs  1970-01-01T00:00:00.000Z\nageMs        5');
  assert.equal(formatDocument({ a: 1, peers: [{ state: 'fresh' }], none: [] }), 'a               1\npeers[0].state  fresh\nnone            []');
});
