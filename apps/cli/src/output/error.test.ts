// Errors at the shell: message, hint and code on standard error, the class's exit code.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fail } from '../errors.ts';
import { reportError } from './error.ts';

function reported(error: unknown, asJson: boolean): { code: number; text: string } {
  let text = '';
  const code = reportError(error, { write: (chunk: unknown) => (text += String(chunk)) !== '' }, asJson);
  return { code, text };
}

test('a known error says message, hint and code and exits by its class', () => {
  const { code, text } = reported(fail('CLI_NOT_FOUND', 'no service x', { hint: 'look' }), false);
  assert.equal(text, 'error: no service x\nhint: look\ncode: CLI_NOT_FOUND\n');
  assert.equal(code, 66);
});

test('as JSON it is one object a program can read', () => {
  const { text } = reported(fail('CLI_PORT_BUSY', 'taken', { facts: { port: 7n } }), true);
  assert.deepEqual(JSON.parse(text), { error: { code: 'CLI_PORT_BUSY', class: 'conflict', message: 'taken', facts: { port: '7' } } });
});

test('an unknown error is internal and keeps its stack', () => {
  const { code, text } = reported(new Error('bug'), false);
  assert.equal(code, 70);
  assert.match(text, /error: bug\ncode: INTERNAL\nError: bug\n {4}at /);
});
