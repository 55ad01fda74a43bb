import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { cpuMsIn, cpuMsOf, residentBytesOf } from './usage.ts';

test('CPU time is read past a command name with spaces and parentheses', () => {
  assert.equal(cpuMsIn('7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 5 6 20 0 1'), 1_500);
  assert.equal(cpuMsIn(''), 0);
});

test('a child’s CPU time and memory count as its parent’s', { skip: process.platform !== 'linux' && 'reads /proc' }, async (t) => {
  // The shell does not work itself: node, its child, does.
  const shell = spawn('sh', ['-c', `"${process.execPath}" -e "while (process.cpuUsage().user < 300_000); console.log(1); setInterval(() => 0, 1e6)"; true`], { detached: true });
  t.after(() => process.kill(-(shell.pid ?? 0), 'SIGKILL'));
  await once(shell.stdout, 'data');
  assert.ok(cpuMsOf(shell.pid ?? 0) >= 250);
  assert.ok(residentBytesOf(shell.pid ?? 0) > 10 * 2 ** 20);
});

test('a process that is gone has used nothing', () => {
  assert.equal(cpuMsOf(2 ** 30), 0);
  assert.equal(residentBytesOf(2 ** 30), 0);
});
