// The agent's listeners on each engine: the same promises, whether they stand on this thread or on another.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { type Server as HttpServer, createServer, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { test } from 'node:test';
import type { Endpoint, Protocol } from '@isthmus/model';
import { aServiceView } from '@isthmus/model/testing';
import { openBundleSet, type SvidSource, type X509Svid } from '@isthmus/pki';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { EngineKind } from '../engine/engine.ts';
import { TestSnapshots } from '../engine/testing.ts';
import { east, endpointAt, PAYMENTS, PAYMENTS_ID, svidOf, WEB_ID } from '../proxy/testing.ts';
import { type Proxies, startProxies } from './proxies.ts';
import { watchThreads } from './testing.ts';

const { threads, closers } = watchThreads();

const ANY = { host: '127.0.0.1', port: 0 };
const engines: readonly EngineKind[] = process.platform === 'linux' ? ['portable', 'linux'] : ['portable'];

function changing(first: X509Svid | undefined): SvidSource & { set(svid: X509Svid): void } {
  let svid = first;
  const listeners = new Set<(svid: X509Svid) => void>();
  return {
    current: () => svid,
    onChange: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    set: (next) => {
      svid = next;
      for (const fn of listeners) fn(next);
    },
  };
}

async function app(answer: string): Promise<{ readonly port: number; readonly server: HttpServer }> {
  const server = createServer((req, res) => res.end(`${answer} ${req.headers['x-forwarded-client-cert'] ?? ''}`));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

function view(endpoints: readonly Endpoint[], protocol: Protocol = 'http') {
  return aServiceView({ ...PAYMENTS, ports: [{ name: 'http', port: 80, protocol }], endpoints: [...endpoints] });
}

async function rig(engine: EngineKind, over: { readonly svid?: SvidSource } = {}) {
  const snapshots = new TestSnapshots();
  const metrics = openMetrics();
  const bundles = openBundleSet([east.bundle]);
  const down: string[] = [];
  const own: Readonly<Record<string, SvidSource>> = { '': svidOf(WEB_ID), 'shop/payments': over.svid ?? svidOf(PAYMENTS_ID) };
  const proxies: Proxies = await startProxies({
    engine,
    snapshots,
    bundles,
    svids: (name) => own[name] ?? changing(undefined),
    onApplicationDown: (service, instance) => down.push(`${service.name}/${instance}`),
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    metrics,
  });
  closers.push(() => proxies.close());
  const inbound = (port: number) => proxies.inbound({ listen: ANY, service: PAYMENTS, instance: 'p1', port: 'http', application: { host: '127.0.0.1', port }, svids: 'shop/payments' });
  const outbound = () => proxies.outbound({ listen: ANY, service: PAYMENTS, port: undefined, protocol: undefined, svids: '' });
  return { proxies, snapshots, metrics, bundles, down, inbound, outbound };
}

/** The status and body of a GET on a connection of its own; a connection cut off is its error's code. */
function get(port: number): Promise<string> {
  return new Promise((resolve) => {
    const req = request({ host: '127.0.0.1', port, agent: false, timeout: 10_000 }, (res) => {
      let body = '';
      res.on('data', (chunk) => (body += String(chunk))).on('end', () => resolve(`${res.statusCode} ${body}`));
    });
    req.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    req.end();
  });
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const limitMs = systemClock.monotonicMs() + 15_000;
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() < limitMs, `waited too long for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('captured calls need an engine that knows where they were going', { timeout: 60_000 }, async () => {
  const captured = { listen: ANY, addresses: new Map([['127.64.0.9', PAYMENTS]]), svids: '' };
  const portable = await rig('portable');
  await assert.rejects(portable.proxies.captured(captured), { code: 'DATAPLANE_ENGINE_UNAVAILABLE' });
  if (!engines.includes('linux')) return;
  const linux = await rig('linux');
  const listener = await linux.proxies.captured(captured);
  assert.equal(await get(listener.port), 'ECONNRESET', 'who dials the listener itself was going nowhere');
  await until('the count', async () => /isthmus_capture_refused_total\{reason="(not-redirected|no-service)"\} 1/.test(await linux.metrics.text()));
  listener.setAddresses(new Map(), 0);
  await listener.close();
  assert.equal(await get(listener.port), 'ECONNREFUSED');
});

for (const engine of engines) {
  const claim = (text: string, fn: () => Promise<void>): void => void test(`${engine}: ${text}`, { timeout: 60_000 }, fn);

  claim('a request goes out by mutual TLS and in to the application, which learns who called', async () => {
    const mesh = await rig(engine);
    assert.equal(mesh.proxies.engine, engine);
    const { port } = await app('hello');
    const inbound = await mesh.inbound(port);
    const outbound = await mesh.outbound();
    mesh.snapshots.set(view([endpointAt(inbound.port)]));
    await until('the endpoint', async () => (await get(outbound.port)).startsWith('200'));
    assert.match(await get(outbound.port), new RegExp(`^200 hello .*URI=${WEB_ID}`));
    await until('the counts', async () => /isthmus_outbound_requests_total\{service="shop\/payments",outcome="done"\} [2-9]/.test(await mesh.metrics.text()));
    await inbound.close();
    await outbound.close();
    assert.equal(await get(outbound.port), 'ECONNREFUSED');
  });

  claim('idle connections leave an endpoint that left the snapshot, with no call to tell them, and stay with those that did not', async () => {
    const mesh = await rig(engine);
    const inbounds = [await mesh.inbound((await app('one')).port), await mesh.inbound((await app('two')).port)] as const;
    const outbound = await mesh.outbound();
    mesh.snapshots.set(view(inbounds.map(({ port }) => endpointAt(port))));
    await until('a connection to each', async () => {
      await get(outbound.port);
      return inbounds.every(({ connections }) => connections === 1);
    });
    mesh.snapshots.set(view([endpointAt(inbounds[1].port)]));
    await until('the idle connection to leave', () => inbounds[0].connections === 0);
    assert.equal(inbounds[1].connections, 1);
  });

  claim('what changes in the snapshot, the bundles and the SVIDs is in force for the next request', async () => {
    const svid = changing(undefined);
    const mesh = await rig(engine, { svid });
    const [one, two] = [await mesh.inbound((await app('one')).port), await mesh.inbound((await app('two')).port)];
    const outbound = await mesh.outbound();
    assert.match(await get(outbound.port), /^503/);
    mesh.snapshots.set(view([endpointAt(one.port)]));
    assert.match(await get(outbound.port), /^503/); // no SVID to answer with yet
    svid.set(east.issue(PAYMENTS_ID));
    await until('the SVID', async () => (await get(outbound.port)).startsWith('200 one'));
    mesh.snapshots.set(view([endpointAt(two.port)]));
    await until('the other endpoint', async () => (await get(outbound.port)).startsWith('200 two'));
    mesh.bundles.remove(east.bundle.trustDomain);
    mesh.snapshots.set(view([endpointAt(one.port, { id: 'east/agent.again' })])); // a new connection, not a pooled one
    await until('the bundle to be gone', async () => (await get(outbound.port)).startsWith('503'));
  });

  claim('an application that is not there is reported, and the caller told', async () => {
    const mesh = await rig(engine);
    const gone = createTcpServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => gone.once('listening', resolve));
    const { port } = gone.address() as AddressInfo;
    gone.close();
    const inbound = await mesh.inbound(port);
    const outbound = await mesh.outbound();
    mesh.snapshots.set(view([endpointAt(inbound.port)]));
    await until('the refusal', async () => (await get(outbound.port)).startsWith('503'));
    await until('the report', async () => {
      await get(outbound.port);
      return mesh.down.includes('payments/p1');
    });
  });

  claim('a port in use is refused with the code and the hint of any other listener', async () => {
    const mesh = await rig(engine);
    const { port } = await app('taken');
    await assert.rejects(mesh.proxies.outbound({ listen: { host: '127.0.0.1', port }, service: PAYMENTS, port: undefined, protocol: undefined, svids: '' }), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'DATAPLANE_LISTEN_FAILED');
      assert.match(error.message, new RegExp(`127.0.0.1:${port}`));
      return true;
    });
  });

  claim('bytes of a TCP service pass until the listener is closed, and its connections are counted', async () => {
    const echo = createTcpServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(0, '127.0.0.1');
    await new Promise((resolve) => echo.once('listening', resolve));
    closers.push(() => void echo.close());
    const mesh = await rig(engine);
    mesh.snapshots.set(view([], 'tcp'));
    const inbound = await mesh.inbound((echo.address() as AddressInfo).port);
    mesh.snapshots.set(view([endpointAt(inbound.port)], 'tcp'));
    const outbound = await mesh.outbound();
    const socket = connect(outbound.port, '127.0.0.1').on('error', () => undefined);
    socket.write('ping');
    assert.equal(String(await new Promise((resolve) => socket.once('data', resolve))), 'ping');
    await until('the count', () => outbound.connections === 1 && inbound.connections === 1);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await outbound.close({ drainMs: 0 });
    await closed;
  });
}

test('linux: a thread that dies is replaced on the same ports with what was known, and leaves no descriptor', { timeout: 60_000, skip: process.platform === 'linux' ? false : 'the engine is of Linux alone' }, async () => {
  const { port } = await app('still');
  const before = readdirSync('/proc/self/fd').length;
  const mesh = await rig('linux');
  const inbound = await mesh.inbound(port);
  const outbound = await mesh.outbound();
  const ports = [inbound.port, outbound.port];
  mesh.snapshots.set(view([endpointAt(inbound.port)]));
  await until('the endpoint', async () => (await get(outbound.port)).startsWith('200'));
  await threads.at(-1)?.terminate();
  await until('the replacement', async () => (await get(outbound.port)).startsWith('200'));
  assert.deepEqual([inbound.port, outbound.port], ports);
  assert.match(await mesh.metrics.text(), /isthmus_dataplane_worker_restarts_total 1/);
  await inbound.close();
  await outbound.close();
  await mesh.proxies.close();
  await until('its descriptors to be closed', () => readdirSync('/proc/self/fd').length <= before);
});
