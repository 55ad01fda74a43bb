// The running demo's socket: requests reach it, errors come back whole, and a second demo is refused.
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { fail } from '../errors.ts';
import { askDemo, serveDemoControl } from './control.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-control-'));

test('a request is answered with the handler’s result', async () => {
  const socket = join(directory, 'a.sock');
  const control = await serveDemoControl(socket, async ({ verb, what }) => [verb, what]);
  assert.deepEqual(await askDemo(socket, { verb: 'stop', what: 'east' }), ['stop', 'east']);
  await control.close();
});

test('the handler’s error comes back with code, message and hint', async () => {
  const socket = join(directory, 'b.sock');
  const control = await serveDemoControl(socket, () => Promise.reject(fail('CLI_NOT_FOUND', 'no process "x"', { hint: 'a, b' })));
  await assert.rejects(askDemo(socket, { verb: 'stop', what: 'x' }), (error: unknown) => error instanceof IsthmusError && error.code === 'CLI_NOT_FOUND' && error.class === 'not-found' && error.hint === 'a, b');
  await control.close();
});

test('a second demo on the same socket is refused, a socket left behind is not', async () => {
  const socket = join(directory, 'c.sock');
  const control = await serveDemoControl(socket, async () => []);
  await assert.rejects(serveDemoControl(socket, async () => []), (error: unknown) => error instanceof IsthmusError && error.code === 'CLI_DEMO_RUNNING');
  await control.close();
  writeFileSync(socket, '');
  await (await serveDemoControl(socket, async () => [])).close();
});

test('without a demo the socket’s absence is said', async () => {
  await assert.rejects(askDemo(join(directory, 'none.sock'), { verb: 'list' }), (error: unknown) => error instanceof IsthmusError && error.code === 'CLI_SOCKET_ABSENT');
});
