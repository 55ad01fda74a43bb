// Ports of the demo: ranges are read strictly, names keep their ports, and a busy port is named before anything starts.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { freePort } from '@isthmus/runtime';
import { assignPorts, checkPortsFree, parsePortRange } from './ports.ts';

const withCode = (code: string, text: RegExp) => (error: unknown) => error instanceof IsthmusError && error.code === code && text.test(error.message);

test('a range is two ports from low to high', () => {
  assert.deepEqual(parsePortRange('21000-21199'), { from: 21_000, to: 21_199 });
  for (const text of ['', '21000', '21199-21000', '0-10', '21000-70000', 'a-b', '21000-21199x', ' 1-2']) {
    assert.throws(() => parsePortRange(text), withCode('CLI_PORT_RANGE', /low to high/), text);
  }
});

test('each name has a port of its own, the same in every run', () => {
  const range = { from: 100, to: 109 };
  assert.deepEqual(assignPorts(range, ['a', 'b', 'c']), { a: 100, b: 101, c: 102 });
  assert.deepEqual(assignPorts(range, ['a', 'b', 'c']), assignPorts(range, ['a', 'b', 'c']));
});

test('a range too small for the demo is refused with the smallest that would do', () => {
  assert.throws(() => assignPorts({ from: 100, to: 101 }, ['a', 'b', 'c']), (error: unknown) => withCode('CLI_PORT_RANGE', /needs 3 ports/)(error) && (error as IsthmusError).hint === 'give at least 100-102');
});

test('a port someone listens on is named, with what the demo wanted it for', async () => {
  const port = await freePort();
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(port, '127.0.0.1', resolve));
  await assert.rejects(checkPortsFree({ 'east-gateway': port }), withCode('CLI_PORT_BUSY', new RegExp(`port ${port} .*east-gateway`)));
  await new Promise((resolve) => holder.close(resolve));
  await checkPortsFree({ 'east-gateway': port });
});
