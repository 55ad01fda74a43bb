import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { createServer } from 'node:tls';
import { clientHello, HELLO_BYTES } from './client-hello.ts';

test('the hello has 517 bytes, and a real TLS server reads the server name in it and goes on', async (t) => {
  const hello = await clientHello('http.payments.shop.svc.east.acme.example');
  assert.equal(hello.length, HELLO_BYTES);
  const names: string[] = [];
  const server = createServer({
    SNICallback: (name, done) => {
      names.push(name);
      done(null);
    },
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => {
    socket.destroy();
    server.close();
  });
  socket.write(hello);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.deepEqual(names, ['http.payments.shop.svc.east.acme.example']);
  // It has no certificate: the hello was understood if that, and not its form, is what is wrong (RFC 8446 §6.2: 40, not 50).
  assert.equal(answer[answer.length - 1], 40);
});
