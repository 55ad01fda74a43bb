import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { limitSilence } from './silence.ts';

test('a connected socket takes the limit; one that is gone does not, and nothing throws', { skip: process.platform === 'linux' ? false : 'TCP_USER_TIMEOUT is Linux’s' }, async () => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  await once(socket, 'connect');
  assert.equal(limitSilence(socket), true);
  socket.destroy();
  await once(socket, 'close');
  assert.equal(limitSilence(socket), false);
  server.close();
});
