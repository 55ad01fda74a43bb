import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freePort } from '@isthmus/runtime';
import { startProgram, startService } from './running.ts';

const SINK = new URL('../load/sink.ts', import.meta.url);

const listens = (port: number): readonly string[] => ['-e', `require('net').createServer().listen(${port}, '127.0.0.1')`];

test('a program is ready once it accepts connections, and is gone after it was stopped, twice if need be', async () => {
  const port = await freePort();
  const program = await startProgram({ path: process.execPath, args: listens(port), cwd: '.', port });
  assert.ok(program.residentBytes() > 0);
  await program.stop();
  await program.stop();
  assert.throws(() => process.kill(program.pid, 0));
});

test('a program that ends at once is reported with what it said', async () => {
  await assert.rejects(startProgram({ path: process.execPath, args: ['-e', 'console.error("bad config"); process.exit(1)'], cwd: '.', port: await freePort() }), /bad config/);
});

test('a program that is not there is reported', async () => {
  await assert.rejects(startProgram({ path: '/nowhere/proxy', args: [], cwd: '.', port: await freePort() }), /ENOENT/);
});

test('a command’s failure reaches the caller, and so does the end of the process', async () => {
  const sink = await startService(SINK, { kind: 'echo' });
  await assert.rejects(sink.call('nonsense', {}), /no such command/);
  await sink.stop();
  await assert.rejects(sink.call('start', { kind: 'echo' }), /closed|ended/);
});
