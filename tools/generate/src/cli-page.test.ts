// The page of commands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cliPage, type CommandShape } from './cli-page.ts';

const command = (name: string, more: Partial<CommandShape> = {}): CommandShape => ({ name: () => name, description: () => `${name} it`, commands: [], options: [], registeredArguments: [], ...more });

test('each command that does something has a section with its arguments and options, and each exit code a line', () => {
  const apply = command('apply', { registeredArguments: [{ name: () => 'name', required: true }], options: [{ flags: '-f, --file <a|b>', description: 'a file', mandatory: true, argChoices: ['x'] }] });
  const page = cliPage(command('isthmus', { commands: [command('service', { commands: [apply] }), command('status')], options: [{ flags: '-o', description: 'form', defaultValue: 'table', mandatory: false, envVar: 'O' }] }), { invalid: { exit: 65 }, denied: { exit: 77 }, unauthenticated: { exit: 77 } });
  assert.match(page, /## isthmus service apply <name>\n\nApply it\.\n\n\| option \| default \| meaning \|\n\|---\|---\|---\|\n\| `-f, --file <a\\\|b>` \| required \| a file \(`x`\) \|/);
  assert.match(page, /## isthmus status\n/);
  assert.doesNotMatch(page, /## isthmus service\n/);
  assert.match(page, /\| `-o` \| `table` \| form; variable `O` \|/);
  assert.match(page, /\| 77 \| errors of class `denied`, `unauthenticated`/);
});
