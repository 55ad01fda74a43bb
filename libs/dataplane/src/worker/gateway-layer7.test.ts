// Layer 7 of a gateway that is started when an export asks for it: no thread before, nobody turned away meanwhile, readiness that tells the truth.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { SnapshotResource, SpiffeId } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { openBundleSet, svidToPem } from '@isthmus/pki';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { TestSnapshots } from '../engine/testing.ts';
import { east, PAYMENTS, PAYMENTS_ID, svidOf, WEB_ID } from '../proxy/testing.ts';
import { startGatewayLayer7 } from './gateway-layer7.ts';
import { startProxies } from './proxies.ts';
import { watchThreads } from './testing.ts';

const isLinux = process.platform === 'linux' ? {} : { skip: 'threads are the Linux engine’s' };
const GATEWAY_ID = 'spiffe://east.acme.example/gateway' as SpiffeId;
const { certPem, keyPem } = svidToPem(east.issue(WEB_ID));

const { threads, closers } = watchThreads();

const app = createServer((_request, response) => response.end('payments')).listen(0, '127.0.0.1');
await once(app, 'listening');
closers.push(() => (app.closeAllConnections(), void app.close()));
const parts = { bundles: openBundleSet([east.bundle]), onApplicationDown: () => undefined, clock: systemClock, random: systemRandom, log: silentLog(), metrics: openMetrics() };
// The workload's own agent, on this thread: threads counted below are the gateway's.
const agent = await startProxies({ ...parts, engine: 'portable', snapshots: new TestSnapshots(aServiceView({ ...PAYMENTS, ports: [{ name: 'http', port: 80, protocol: 'http' }], endpoints: [] })), svids: () => svidOf(PAYMENTS_ID) });
closers.push(() => agent.close());
const inbound = await agent.inbound({ listen: { host: '127.0.0.1', port: 0 }, service: PAYMENTS, instance: 'p1', port: 'http', application: { host: '127.0.0.1', port: (app.address() as AddressInfo).port }, svids: '' });

function payments(layer?: 7): SnapshotResource {
  const endpoint = anEndpoint({ id: 'east/payments/p1', host: '127.0.0.1', ports: { http: inbound.port }, spiffeId: PAYMENTS_ID, trustDomain: east.trustDomain });
  return aServiceView({ ...PAYMENTS, ports: [{ name: 'http', port: 80, protocol: 'http' }], endpoints: [endpoint], exported: true, ...(layer !== undefined && { gatewayLayer: layer }) });
}

async function layer7Of(snapshots: TestSnapshots, engine: 'linux' | 'portable' = 'linux') {
  const layer7 = await startGatewayLayer7({ ...parts, engine, snapshots, svids: () => svidOf(GATEWAY_ID), trustDomain: east.trustDomain });
  closers.push(() => layer7.close());
  return { layer7, port: Number(layer7.address.split(':')[1]) };
}

/** What a GET over mutual TLS is answered, or the error that it ended with. */
function call(port: number): Promise<string> {
  return new Promise((resolve) => {
    const req = request({ host: '127.0.0.1', port, cert: certPem, key: keyPem, rejectUnauthorized: false, agent: false, timeout: 60_000, servername: 'http.payments.shop.l7.east.acme.example', headers: { host: 'payments' } }, (response) => {
      let body = '';
      response.on('data', (part) => (body += String(part))).on('end', () => resolve(`${response.statusCode} ${body}`));
    });
    req.on('error', (error) => resolve(error.message)).end();
  });
}

async function connected(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
}

test('no thread until an export asks for layer 7; who came before is answered once it runs', { ...isLinux, timeout: 120_000 }, async () => {
  threads.length = 0;
  const snapshots = new TestSnapshots(payments());
  const { layer7, port } = await layer7Of(snapshots);
  assert.equal(threads.length, 0);
  assert.equal(layer7.isReady(), true);
  await connected(port);
  const early = call(port);
  snapshots.set(payments(7));
  assert.equal(layer7.isReady(), false, 'an export asks, and nothing serves it yet');
  assert.equal(await early, '200 payments');
  assert.equal(layer7.isReady(), true);
  assert.equal(layer7.address, `127.0.0.1:${port}`);
  assert.equal(threads.length, 1);
  // Asked for twice, started once.
  snapshots.set(payments());
  snapshots.set(payments(7));
  assert.equal(await call(port), '200 payments');
  assert.equal(threads.length, 1);
});

test('where an export asks already it runs before the gateway starts', { ...isLinux, timeout: 120_000 }, async () => {
  threads.length = 0;
  const { layer7, port } = await layer7Of(new TestSnapshots(payments(7)));
  assert.equal(threads.length, 1);
  assert.equal(layer7.isReady(), true);
  assert.equal(await call(port), '200 payments');
});

test('while a thread that died is replaced, who connects waits for the next', { ...isLinux, timeout: 120_000 }, async () => {
  threads.length = 0;
  const { port } = await layer7Of(new TestSnapshots(payments(7)));
  const died = once(threads[0] as Worker, 'exit');
  await threads[0]?.terminate();
  await died;
  assert.equal(await call(port), '200 payments');
  assert.equal(threads.length, 2);
});

test('closed, it lets go of its port, asked for or not', { ...isLinux, timeout: 120_000 }, async () => {
  for (const layer of [undefined, 7] as const) {
    const { layer7, port } = await layer7Of(new TestSnapshots(payments(layer)));
    await layer7.close();
    await assert.rejects(connected(port), { code: 'ECONNREFUSED' });
  }
});

test('the portable engine, which has no thread to save, runs it at once', { timeout: 60_000 }, async () => {
  threads.length = 0;
  const snapshots = new TestSnapshots(payments());
  const { layer7, port } = await layer7Of(snapshots, 'portable');
  await connected(port);
  snapshots.set(payments(7));
  assert.equal(layer7.isReady(), true);
  assert.equal(await call(port), '200 payments');
  assert.equal(threads.length, 0);
});
