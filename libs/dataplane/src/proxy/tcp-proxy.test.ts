// Bytes through both proxies: half-close, resets, retries before the first byte, HTTP/2 as bytes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectH2, createServer as createH2 } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { endpointAt, engineOf, inboundFor, outboundFor, startTcpApp } from './testing.ts';

const closers: (() => Promise<unknown>)[] = [];
after(async () => {
  await Promise.all(closers.map((close) => close()));
});

async function tcpMesh(onConnection: (socket: Socket) => void) {
  const app = await startTcpApp(onConnection);
  const inbound = await inboundFor(app.port, { protocol: 'tcp' });
  const outbound = await outboundFor(() => engineOf([endpointAt(inbound.port)], 'tcp'), { protocol: 'tcp' });
  closers.push(() => outbound.close(), () => inbound.close(), () => app.destroy());
  return outbound.port;
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

test('a caller may end its side and still read the whole answer', async () => {
  const port = await tcpMesh((socket) => {
    let got = '';
    socket.on('data', (c) => (got += String(c)));
    socket.on('end', () => socket.end(`after your end: ${got}`));
  });
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.end('question');
  assert.equal(await readAll(socket), 'after your end: question');
});

test('an application may end its side and still read what the caller sends', async () => {
  const got = Promise.withResolvers<string>();
  const port = await tcpMesh((socket) => {
    socket.end('bye');
    let text = '';
    socket.on('data', (c) => (text += String(c)));
    socket.on('end', () => got.resolve(text));
  });
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  let read = '';
  socket.on('data', (c) => (read += String(c)));
  await once(socket, 'end');
  assert.equal(read, 'bye');
  socket.end('still here');
  assert.equal(await got.promise, 'still here');
});

test('a reset by the application is a reset for the caller', async () => {
  const port = await tcpMesh((socket) => socket.once('data', () => socket.resetAndDestroy()));
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.write('x');
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNRESET');
});

test('a reset by the caller is a reset for the application', async () => {
  const reset = Promise.withResolvers<string | undefined>();
  const port = await tcpMesh((socket) => {
    socket.write('ready');
    socket.on('error', (error: NodeJS.ErrnoException) => reset.resolve(error.code));
    socket.resume();
  });
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  await once(socket, 'data');
  socket.resetAndDestroy();
  assert.equal(await reset.promise, 'ECONNRESET');
});

test('an endpoint that cannot be connected to is passed over before the first byte', async () => {
  const gone = await startTcpApp(() => undefined);
  await gone.destroy();
  const app = await startTcpApp((socket) => socket.end('here'));
  const inbound = await inboundFor(app.port, { protocol: 'tcp' });
  const outbound = await outboundFor(() => engineOf([endpointAt(gone.port), endpointAt(inbound.port)], 'tcp'), { protocol: 'tcp' });
  closers.push(() => outbound.close(), () => inbound.close(), () => app.destroy());
  for (let i = 0; i < 6; i++) assert.equal(await readAll(connect({ host: '127.0.0.1', port: outbound.port })), 'here');
});

test('HTTP/2 with prior knowledge on an http listener goes through to an application behind a tcp port', async () => {
  const server = createH2((_request, response) => response.end('over http/2'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const inbound = await inboundFor((server.address() as AddressInfo).port, { protocol: 'tcp' });
  const outbound = await outboundFor(() => engineOf([endpointAt(inbound.port)]));
  const client = connectH2(`http://127.0.0.1:${outbound.port}`);
  closers.push(() => outbound.close(), () => inbound.close(), () => new Promise((resolve) => void server.close(resolve)));
  const stream = client.request({ ':path': '/' });
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  assert.equal(text, 'over http/2');
  client.close();
  await once(client, 'close');
});
