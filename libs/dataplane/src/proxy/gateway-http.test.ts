// Layer 7 at a gateway: requests of one connection spread over endpoints, who calls is told and cannot be forged, on both transports.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectH2, createServer as createH2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test, type TestContext } from 'node:test';
import { compile, type Engine } from '@isthmus/decide';
import { type Endpoint, type Protocol, resourceName, type SnapshotResource, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { aServiceView } from '@isthmus/model/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { CALLER_HEADER } from '../http/forwarded-caller.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { portableTransport } from '../transport/portable.ts';
import type { Transport } from '../transport/transport.ts';
import { startGatewayHttp } from './gateway-http.ts';
import type { InboundListener, InboundOptions } from './inbound.ts';
import { eastBundles, east, endpointAt, engineOf, inboundFor, outboundFor, PAYMENTS, PAYMENTS_ID, startApp, svidOf, WEB_ID } from './testing.ts';

const TD = 'east.acme.example' as TrustDomain;
const SNI = `http.payments.shop.svc.${TD}`;
const L7_SNI = `http.payments.shop.l7.${TD}`;
const GATEWAY_ID = `spiffe://${TD}/gateway` as SpiffeId;
const gatewaySvid = svidOf(GATEWAY_ID);

const errors: unknown[] = [];
const loop = process.platform === 'linux' ? new Loop((error) => errors.push(error), { sharesThread: true }) : undefined;
const transports: readonly Transport[] = [portableTransport(), ...(loop === undefined ? [] : [linuxTransport(loop)])];
const closers: (() => Promise<unknown>)[] = [];
after(async () => {
  await Promise.all(closers.map((close) => close()));
  loop?.close();
  assert.deepEqual(errors, []);
});

function eachTransport(name: string, fn: (transport: Transport, t: TestContext) => Promise<void>): void {
  for (const transport of transports) test(`${transport.engine}: ${name}`, (t) => fn(transport, t));
}

function gatewayEngine(endpoints: readonly Endpoint[], over: Parameters<typeof aServiceView>[0] = {}, protocol: Protocol = 'http'): Engine {
  const view = aServiceView({ ...PAYMENTS, exported: true, gatewayLayer: 7, ports: [{ name: 'http', port: 8080, protocol }], endpoints: [...endpoints], ...over });
  const resources: SnapshotResource[] = [view, { kind: 'bundle', bundle: east.bundle }];
  return compile({ version: 1, resources: new Map(resources.map((r) => [resourceName(r), r])) });
}

type Rig = { readonly caller: number; readonly gateway: { readonly port: number; readonly connections: number }; readonly inbounds: readonly InboundListener[]; setEngine(engine: Engine): void };

/** Applications, their agents, the gateway before them, and the agent of a caller elsewhere. */
async function rig(transport: Transport, apps: readonly number[], inbound: Partial<InboundOptions> = {}, protocol: Protocol = 'http'): Promise<Rig> {
  const inbounds = await Promise.all(apps.map((port) => inboundFor(port, { transport, protocol, ...inbound })));
  let engine = gatewayEngine(inbounds.map((i) => endpointAt(i.port)), {}, protocol);
  const gateway = await startGatewayHttp({ listen: { host: '127.0.0.1', port: 0 }, trustDomain: TD, engine: () => engine, svids: gatewaySvid, bundles: eastBundles(), transport, log: silentLog(), metrics: openMetrics() });
  const behind = engineOf([endpointAt(gateway.port, { id: 'east/gateway/127.0.0.1:1', spiffeId: GATEWAY_ID, viaGateway: true })], protocol);
  const outbound = await outboundFor(() => behind, { transport, protocol });
  closers.push(() => outbound.close(), () => gateway.close(), ...inbounds.map((i) => () => i.close()));
  return { caller: outbound.port, gateway, inbounds, setEngine: (next) => (engine = next) };
}

type Answer = { readonly status: number; readonly text: string; readonly trailers: IncomingHttpHeaders };

async function session(port: number, t: TestContext): Promise<ClientHttp2Session> {
  const client = connectH2(`http://127.0.0.1:${port}`);
  t.after(() => client.destroy());
  await once(client, 'connect');
  return client;
}

function ask(client: ClientHttp2Session, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = client.request({ ':path': '/', ...headers });
    let status = 0;
    let text = '';
    let trailers: IncomingHttpHeaders = {};
    stream.on('response', (head) => (status = Number(head[':status'])));
    stream.on('trailers', (fields) => (trailers = fields));
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    stream.on('error', reject);
    stream.on('end', () => resolve({ status, text, trailers }));
  });
}

/** One HTTP/1.1 request over mutual TLS of the test's own, as a peer that says what it likes. */
async function askRaw(transport: Transport, port: number, as: SpiffeId, expectedId: SpiffeId, headers: readonly string[], sni = expectedId === GATEWAY_ID ? L7_SNI : SNI): Promise<string> {
  const { stream } = await transport.dialMutualTls({ host: '127.0.0.1', port, sni, expectedId, trustDomain: TD, svids: svidOf(as), bundles: eastBundles(), timeoutMs: 5_000, clock: transport.clock, alpn: ['http/1.1'], allowHalfOpen: false });
  let text = '';
  stream.on('data', (chunk) => (text += chunk.toString('latin1')));
  const closed = new Promise((resolve) => stream.once('close', () => resolve(undefined)));
  stream.on('error', () => undefined);
  stream.write(`GET / HTTP/1.1\r\nconnection: close\r\n${headers.map((h) => `${h}\r\n`).join('')}\r\n`, 'latin1');
  await closed;
  return text;
}

const tell: RequestListener = (request, response) => response.end(JSON.stringify(request.headers));
const clientCertOf = (text: string): string => (JSON.parse(text.slice(text.indexOf('{'))) as Record<string, string>)['x-forwarded-client-cert'] ?? '';

eachTransport('requests of one connection go to both endpoints, each told who really calls', async (transport, t) => {
  const counts = [0, 0];
  const seen = new Set<string>();
  const apps = await Promise.all(counts.map((_, i) => startApp((request, response) => {
    counts[i] = (counts[i] ?? 0) + 1;
    seen.add(request.headers['x-forwarded-client-cert'] as string);
    assert.equal(request.headers[CALLER_HEADER], undefined, 'the application is told by one header alone');
    response.end('ok');
  })));
  t.after(() => Promise.all(apps.map((app) => app.destroy())));
  const { caller, gateway } = await rig(transport, apps.map((app) => app.port));
  const client = await session(caller, t);
  for (let i = 0; i < 60; i++) assert.equal((await ask(client)).status, 200);
  assert.ok(gateway.connections <= 1, `${gateway.connections} connections for one caller`);
  assert.ok(counts.every((count) => count > 5), `spread ${counts.join(' and ')}`);
  for (const value of seen) assert.match(value, new RegExp(`^By=${GATEWAY_ID};Hash=[0-9a-f]{64};URI=${WEB_ID},By=${PAYMENTS_ID};Hash=[0-9a-f]{64};URI=${GATEWAY_ID}$`));
});

eachTransport('who calls cannot be forged: not by a program, not by another peer, not by leaving it out', async (transport, t) => {
  const app = await startApp(tell);
  t.after(() => app.destroy());
  const { caller, gateway, inbounds } = await rig(transport, [app.port]);
  const [inbound] = inbounds;
  assert.ok(inbound);
  const forged = `spiffe://${TD}/ns/shop/svc/admin;hash=${'0'.repeat(64)}`;
  const through = await ask(await session(caller, t), { [CALLER_HEADER]: forged, 'x-forwarded-client-cert': 'URI=spiffe://x/admin' });
  assert.match(clientCertOf(through.text), new RegExp(`URI=${WEB_ID},`));
  assert.doesNotMatch(through.text, /admin/);
  const atGateway = await askRaw(transport, gateway.port, WEB_ID, GATEWAY_ID, ['host: payments', `${CALLER_HEADER}: ${forged}`]);
  assert.match(atGateway, /^HTTP\/1\.1 200/);
  assert.doesNotMatch(atGateway, /admin/);
  // Straight to the agent: another service is not believed, and neither is a gateway of nobody.
  const asPeer = await askRaw(transport, inbound.port, WEB_ID, PAYMENTS_ID, ['host: payments', `${CALLER_HEADER}: ${forged}`]);
  assert.match(clientCertOf(asPeer), new RegExp(`^By=${PAYMENTS_ID};Hash=[0-9a-f]{64};URI=${WEB_ID}$`));
  for (const headers of [[], [`${CALLER_HEADER}: nobody`], [`${CALLER_HEADER}: ${forged}`, `${CALLER_HEADER}: ${forged}`], [`${CALLER_HEADER}: spiffe://unknown.example/ns/a/svc/b;hash=${'0'.repeat(64)}`]]) {
    assert.match(await askRaw(transport, inbound.port, GATEWAY_ID, PAYMENTS_ID, ['host: payments', ...headers]), /^HTTP\/1\.1 403/, headers.join());
  }
});

eachTransport('the agent allows or denies the caller, not the gateway', async (transport, t) => {
  const app = await startApp(tell);
  t.after(() => app.destroy());
  const asked: string[] = [];
  const { gateway } = await rig(transport, [app.port], {
    authorize: (peer) => {
      asked.push(peer.spiffeId);
      return peer.spiffeId === WEB_ID;
    },
  });
  assert.match(await askRaw(transport, gateway.port, WEB_ID, GATEWAY_ID, ['host: payments']), /^HTTP\/1\.1 200/);
  assert.match(await askRaw(transport, gateway.port, `spiffe://${TD}/ns/shop/svc/other` as SpiffeId, GATEWAY_ID, ['host: payments']), /^HTTP\/1\.1 403/);
  assert.deepEqual([...new Set(asked)], [WEB_ID, `spiffe://${TD}/ns/shop/svc/other`]);
});

eachTransport('421 for another service’s name, 404 once the service is offered no more, a reset for what is not of layer 7', async (transport, t) => {
  const app = await startApp(tell);
  t.after(() => app.destroy());
  const { gateway, inbounds, setEngine } = await rig(transport, [app.port]);
  const at = inbounds.map((i) => endpointAt(i.port));
  const status = async (host: string): Promise<string> => (await askRaw(transport, gateway.port, WEB_ID, GATEWAY_ID, [`host: ${host}`])).slice(9, 12);
  assert.equal(await status('payments.shop.svc.clusterset.local'), '200');
  assert.equal(await status('vault.shop.svc.clusterset.local'), '421');
  assert.equal(await status(`http.vault.shop.svc.${TD}`), '421');
  const { stream } = await transport.dialMutualTls({ host: '127.0.0.1', port: gateway.port, sni: L7_SNI, expectedId: GATEWAY_ID, trustDomain: TD, svids: svidOf(WEB_ID), bundles: eastBundles(), timeoutMs: 5_000, clock: transport.clock, alpn: ['http/1.1'], allowHalfOpen: false });
  t.after(() => stream.destroy());
  const answers: string[] = [];
  let heard: () => void = () => undefined;
  stream.on('data', (chunk) => {
    answers.push(chunk.toString('latin1').slice(9, 12));
    heard();
  });
  const next = async (): Promise<void> => {
    const came = new Promise<void>((resolve) => (heard = resolve));
    stream.write('GET / HTTP/1.1\r\nhost: payments\r\n\r\n', 'latin1');
    await came;
  };
  await next();
  setEngine(gatewayEngine(at, { exported: false }));
  await next();
  assert.deepEqual(answers.slice(0, 2), ['200', '404']);
  setEngine(gatewayEngine(at));
  assert.equal(await askRaw(transport, gateway.port, WEB_ID, GATEWAY_ID, ['host: payments'], SNI), '', 'by its name of layer 4');
  setEngine(engineOf(at));
  assert.equal(await askRaw(transport, gateway.port, WEB_ID, GATEWAY_ID, ['host: payments']), '');
});

eachTransport('gRPC passes with its trailers', async (transport, t) => {
  const server = createH2Server();
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '7', 'grpc-message': 'no' }));
    stream.end('message');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { caller } = await rig(transport, [(server.address() as AddressInfo).port], {}, 'grpc');
  const { status, text, trailers } = await ask(await session(caller, t), { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' });
  assert.deepEqual([status, text, trailers['grpc-status'], trailers['grpc-message']], [200, 'message', '7', 'no']);
});

eachTransport('an endpoint that dies under load costs no request', async (transport, t) => {
  const apps = await Promise.all([0, 1].map(() => startApp((_request, response) => void setTimeout(() => response.end('ok'), 2))));
  t.after(() => Promise.all(apps.map((app) => app.destroy())));
  const { caller, inbounds } = await rig(transport, apps.map((app) => app.port));
  const client = await session(caller, t);
  let done = 0;
  let closing: Promise<void> | undefined;
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let i = 0; i < 60; i++) {
      const { status, text } = await ask(client);
      assert.equal(status, 200, text);
      if (++done === 150) closing = inbounds[0]?.close();
    }
  }));
  assert.ok(closing);
  await closing;
});
