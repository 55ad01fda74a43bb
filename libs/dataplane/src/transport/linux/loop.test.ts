// What the loop owes to Node's own: nobody's promise waits for the next event of a socket.
import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { Loop } from './loop.ts';
import { linuxTransport } from './transport.ts';

const isLinux = process.platform === 'linux';
const errors: unknown[] = [];
const loop = isLinux ? new Loop((error) => errors.push(error), { turnsInARow: 8 }) : undefined;
after(() => {
  loop?.close();
  assert.deepEqual(errors, []);
});

test('what a turn leaves to promises and ticks runs before the loop waits again, however many turns it may take in a row', { skip: isLinux ? false : 'the loop is for Linux', timeout: 60_000 }, async () => {
  assert.ok(loop !== undefined);
  const server = createServer((socket) => socket.on('data', (chunk) => socket.write(chunk)).on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stream = await linuxTransport(loop).dial({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, timeoutMs: 10_000, allowHalfOpen: false });
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    stream.on('data', () => {
      loop.setTimer(200, () => resolve(void order.push('timer')));
      queueMicrotask(() => order.push('promise'));
      process.nextTick(() => order.push('tick'));
    });
    stream.write('question', 'latin1');
  });
  stream.destroy();
  server.close();
  assert.deepEqual(order, ['tick', 'promise', 'timer']);
});
