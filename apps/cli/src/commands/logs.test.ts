// Log lines as `isthmus logs` prints them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatLine } from './logs.ts';

const line = JSON.stringify({ time: '2026-01-02T03:04:05.000Z', level: 'warn', program: 'agent', msg: 'slow', ms: 12, peer: 'west' });

test('a line is for people, with colour on a terminal only, or an object for programs', () => {
  assert.equal(formatLine(line, 'table', false), '2026-01-02T03:04:05.000Z warn  slow ms=12 peer="west"\n');
  assert.match(formatLine(line, 'table', true), /\x1b\[33mwarn \x1b\[0m slow/);
  assert.equal(formatLine(line, 'json', true), `${line}\n`);
  assert.match(formatLine(line, 'yaml', true), /^---\n[^]*msg: slow\n/);
  assert.match(formatLine('no JSON', 'table', false), /^no JSON/);
});
