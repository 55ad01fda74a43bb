import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { after, test } from 'node:test';
import { SERVER_NAME } from '../ours/service.ts';
import { startService } from '../system/running.ts';
import { clientHello } from './client-hello.ts';
import type { SinkKind } from './sink.ts';
import type { Elapsed, Latency } from './source.ts';

// The generator straight on its sinks: source.ts and sink.ts as processes, without a proxy.
const hello = (await clientHello(SERVER_NAME)).toString('base64');
const source = await startService(new URL('./source.ts', import.meta.url), {});
const startSink = (kind: SinkKind) => startService(new URL('./sink.ts', import.meta.url), { kind });
const [answer, echo, count] = await Promise.all([startSink('answer'), startSink('echo'), startSink('count')]);
after(() => Promise.all([source, answer, echo, count].map((service) => service.stop())));

test('connections are made and answered', async () => {
  const { elapsedMs } = await source.call<Elapsed>('connect', { port: answer.port, hello, connections: 50, concurrency: 8 });
  assert.ok(elapsedMs > 0);
});

test('a connection that is closed without the answer is an error', async () => {
  const server = createServer((socket) => socket.once('data', () => socket.end('too little')));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await assert.rejects(source.call('connect', { port, hello, connections: 1, concurrency: 1 }), /64 bytes did not come back: 10 did/);
    await assert.rejects(source.call('holdIdle', { port, hello, connections: 1 }), /closed before the hello was answered/);
  } finally {
    server.close();
  }
});

test('every byte of a bulk transfer is counted at the other end, and the count comes back after the half-close', async () => {
  await source.call<Elapsed>('bulk', { port: count.port, hello, bytes: 3_000_001, connections: 1 });
  await assert.rejects(source.call('bulk', { port: answer.port, hello, bytes: 1_000, connections: 1 }), /backend got a+|ECONNRESET|EPIPE/);
});

test('round trips come back; latencies are counted, one for each', async () => {
  await source.call<Elapsed>('roundTrips', { port: echo.port, hello, connections: 4, trips: 100 });
  await source.call('holdIdle', { port: echo.port, hello, connections: 10 });
  await source.call('collectGarbage', {});
  const { trips, p50Us, p99Us } = await source.call<Latency>('latency', { perSecond: 200, seconds: 0.2 });
  await source.call('releaseIdle', {});
  assert.ok(trips > 0);
  assert.ok(p50Us > 0 && p99Us >= p50Us);
});

test('idle connections are held until released', async () => {
  assert.equal(await source.call('holdIdle', { port: echo.port, hello, connections: 20 }), 20);
  await source.call('releaseIdle', {});
  assert.equal(await source.call('holdIdle', { port: echo.port, hello, connections: 5 }), 5);
  await source.call('releaseIdle', {});
});
