// Row 48 at the proxies: who is banned is refused at the next handshake and loses the connections that are open.
import assert from 'node:assert/strict';
import { type EventEmitter, once } from 'node:events';
import { connect as connectH2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import type { BannedSvids } from '@isthmus/model';
import { type BundleSet, fixedSvidSource, holderTag, openBundleSet } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { openMetrics } from '@isthmus/telemetry';
import { east, endpointAt, engineOf, inboundFor, outboundFor, PAYMENTS_ID, startApp, startTcpApp, WEB_ID } from '../proxy/testing.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { portableTransport } from '../transport/portable.ts';
import type { ByteStream, Transport } from '../transport/transport.ts';
import { judgeCaller } from './judge.ts';
import { OpenPeers } from './open-peers.ts';

const AGENT = 'spiffe://east.acme.example/agent/vm-1';
const loop = new Loop((error) => errors.push(error), { sharesThread: true });
const errors: unknown[] = [];
const closers: (() => Promise<unknown> | void)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
  loop.close();
  assert.deepEqual(errors, []);
});
const transports: readonly Transport[] = [portableTransport(), ...(process.platform === 'linux' ? [linuxTransport(loop)] : [])];

/** Resolves when it is closed, by whatever error. */
const closedOf = (emitter: EventEmitter): Promise<void> => new Promise((resolve) => emitter.once('close', () => resolve()));

const banOf = (over: Partial<BannedSvids>): BannedSvids => ({ spiffeId: WEB_ID, issuedBeforeMs: Date.now() + 60_000, expiresAtMs: Date.now() + 3_600_000, ...over });

/** An echo behind both proxies; `server` and `client` are the bundles each side holds. */
async function tcpMesh(transport: Transport) {
  const [server, client] = [openBundleSet([east.bundle]), openBundleSet([east.bundle])];
  const metrics = openMetrics();
  const app = await startTcpApp((socket) => socket.pipe(socket));
  const inbound = await inboundFor(app.port, { protocol: 'tcp', bundles: server, transport, metrics });
  const outbound = await outboundFor(() => engineOf([endpointAt(inbound.port)], 'tcp'), { protocol: 'tcp', bundles: client, transport, metrics });
  closers.push(() => app.destroy(), () => inbound.close(), () => outbound.close());
  return { server, client, port: outbound.port, metrics };
}

async function echoing(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  closers.push(() => void socket.destroy());
  socket.write('ping');
  await once(socket, 'data');
  return socket;
}

const isRefused = async (port: number): Promise<boolean> => {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  socket.write('ping');
  const answered = new Promise<false>((resolve) => socket.once('data', () => resolve(false)));
  return Promise.race([answered, closedOf(socket).then(() => true)]).finally(() => socket.destroy());
};

for (const transport of transports) {
  const { engine } = transport;

  test(`${engine}: a banned caller loses its open connection, is refused at the next handshake, and comes back when the ban is lifted`, async () => {
    const { server, port, metrics } = await tcpMesh(transport);
    const socket = await echoing(port);
    const closed = closedOf(socket);
    server.ban(east.trustDomain, [banOf({})]);
    await closed;
    assert.equal(await isRefused(port), true);
    assert.match(await metrics.text(), /isthmus_inbound_refused_total\{service="shop\/payments",reason="banned"\} [1-9]/);
    server.ban(east.trustDomain, []);
    (await echoing(port)).destroy();
  });

  test(`${engine}: a banned server loses the connections to it, and nobody calls it again`, async () => {
    const { client, port } = await tcpMesh(transport);
    const socket = await echoing(port);
    const closed = closedOf(socket);
    client.ban(east.trustDomain, [banOf({ spiffeId: PAYMENTS_ID })]);
    await closed;
    assert.equal(await isRefused(port), true);
  });

  test(`${engine}: a bundle that was emptied, as a fenced cluster’s is, closes every connection of that trust domain`, async () => {
    const { server, port } = await tcpMesh(transport);
    const socket = await echoing(port);
    const closed = closedOf(socket);
    server.update({ ...east.bundle, sequence: 2, x509Authorities: [] });
    await closed;
    assert.equal(await isRefused(port), true);
  });

  test(`${engine}: an open h2 connection of a banned caller is closed with the streams on it`, async () => {
    const bundles = openBundleSet([east.bundle]);
    const app = await startApp((_request, response) => void response.write('first'));
    const inbound = await inboundFor(app.port, { protocol: 'http', bundles, transport });
    const outbound = await outboundFor(() => engineOf([endpointAt(inbound.port)]), { transport });
    closers.push(() => app.destroy(), () => inbound.close(), () => outbound.close());
    const session = connectH2(`http://127.0.0.1:${outbound.port}`);
    session.on('error', () => undefined);
    closers.push(() => session.destroy());
    const stream = session.request({ ':path': '/', ':authority': 'payments.shop.svc.clusterset.local' });
    stream.on('error', () => undefined);
    await once(stream, 'data');
    const closed = closedOf(stream);
    bundles.ban(east.trustDomain, [banOf({})]);
    await closed;
    assert.notEqual(stream.rstCode, 0, 'it is cut off, never ended as if whole');
  });
}

test('a ban holds for what was issued before it, to that ID or to that holder, and for nothing else', () => {
  const issued = (at: number, holder?: string) => [{ spiffeId: PAYMENTS_ID, holder: holder && holderTag(holder), issuedAtMs: at }];
  const bundles: BundleSet = openBundleSet();
  bundles.ban(east.trustDomain, [banOf({ spiffeId: AGENT, holder: holderTag(AGENT), issuedBeforeMs: 1_000 })]);
  const index = bundles.bans(east.trustDomain);
  assert.ok(index !== undefined);
  assert.ok(index.of(issued(999, AGENT)));
  assert.equal(index.of(issued(1_000, AGENT)), undefined, 'issued after it: let in again');
  assert.equal(index.of(issued(999, 'spiffe://east.acme.example/agent/vm-2')), undefined, 'another agent’s SVID of the same service');
  assert.equal(index.of(issued(999)), undefined);
  assert.ok(index.of([{ spiffeId: AGENT, holder: undefined, issuedAtMs: 5 }]), 'by ID, where the serial number says nothing');
  assert.equal(bundles.bans('west.acme.example'), undefined, 'a ban of east says nothing of west');
});

test('connections of a root that was taken out are left for a while, then closed', async () => {
  let later: (() => void) | undefined;
  const clock = { ...systemClock, setTimer: (_ms: number, fn: () => void) => ((later = fn), { cancel: () => (later = undefined) }) } as unknown as typeof systemClock;
  const bundles = openBundleSet([east.bundle]);
  const closed: string[] = [];
  const peers = new OpenPeers({ bundles, clock, close: () => closed.push('stream'), onClosed: (_peer, reason, connections) => closed.push(`${reason} ${connections}`) });
  const stream = { once: () => stream } as unknown as ByteStream;
  peers.add(stream, judgeCaller(fixedSvidSource(east.issue(WEB_ID)).current()?.chain ?? [], bundles, Date.now()));
  const other = testAuthority({ federation: 'acme.example', cluster: 'east' });
  bundles.update({ ...other.bundle, sequence: 2 });
  assert.deepEqual(closed, []);
  later?.();
  assert.deepEqual(closed, ['untrusted 1', 'stream']);
  peers.close();
});

for (const transport of transports) {
  test(`${transport.engine}: row 36: connections of a compromised root are closed at once, at both ends`, async () => {
    for (const end of ['server', 'client'] as const) {
      const mesh = await tcpMesh(transport);
      const closed = closedOf(await echoing(mesh.port));
      const other = testAuthority({ federation: 'acme.example', cluster: 'east' });
      mesh[end].update({ ...east.bundle, sequence: east.bundle.sequence + 1, x509Authorities: other.bundle.x509Authorities });
      mesh[end].revoke(['ab'.repeat(32)]);
      await closed;
    }
  });
}
