// Both ends of mutual TLS, with real sockets and OpenSSL underneath.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { IsthmusError, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { exportKeyPem, openBundleSet, type SvidSource, toPem, type X509Svid } from '@isthmus/pki';
import { CHAIN_CASES, openPki, testAuthority, TRUST_DOMAIN } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { east, eastBundles, PAYMENTS_ID, svidOf, WEB_ID } from '../proxy/testing.ts';
import type { Peer } from './judge.ts';
import { acceptMutualTls, connectMutualTls, type ConnectMutualTlsOptions } from './mutual-tls.ts';

const EAST = 'east.acme.example' as TrustDomain;
const server = svidOf(PAYMENTS_ID);
const client = svidOf(WEB_ID);
/** Two days on: every SVID of these tests has expired by then. */
const later = { ...systemClock, nowMs: () => systemClock.nowMs() + 2 * 86_400_000 };

const closers: (() => void)[] = [];
after(() => closers.forEach((close) => close()));

type Accepted = { readonly socket: TLSSocket; readonly peer: Peer };

async function listen(over: Partial<Parameters<typeof acceptMutualTls>[1]> = {}) {
  const outcomes: PromiseWithResolvers<Accepted>[] = [];
  const taken: PromiseWithResolvers<Accepted>[] = [];
  const next = (): PromiseWithResolvers<Accepted> => {
    const waiting = taken.shift();
    if (waiting !== undefined) return waiting;
    const fresh = Promise.withResolvers<Accepted>();
    fresh.promise.catch(() => undefined);
    outcomes.push(fresh);
    return fresh;
  };
  const tcp = createServer((raw) => {
    acceptMutualTls(raw, { svids: server, bundles: eastBundles(), timeoutMs: 2_000, ...over }).then(...settle(next()));
  });
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  closers.push(() => tcp.close());
  return {
    port: (tcp.address() as AddressInfo).port,
    accepted(): Promise<Accepted> {
      const ready = outcomes.shift();
      if (ready !== undefined) return ready.promise;
      const waiting = Promise.withResolvers<Accepted>();
      waiting.promise.catch(() => undefined);
      taken.push(waiting);
      return waiting.promise;
    },
  };
}

function settle(p: PromiseWithResolvers<Accepted>): [(value: Accepted) => void, (error: unknown) => void] {
  return [
    (value) => {
      closers.push(() => value.socket.destroy());
      p.resolve(value);
    },
    p.reject,
  ];
}

function dial(port: number, over: Partial<ConnectMutualTlsOptions> = {}): Promise<TLSSocket> {
  return connectMutualTls({
    host: '127.0.0.1', port, sni: 'http.payments.shop.svc.east.acme.example', expectedId: PAYMENTS_ID, trustDomain: EAST,
    svids: client, bundles: eastBundles(), timeoutMs: 2_000, ...over,
  }).then((socket) => {
    closers.push(() => socket.destroy());
    return socket;
  });
}

function refusedWith(code: string, reason?: string) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof IsthmusError, String(error));
    assert.equal(error.code, code, error.message);
    if (reason !== undefined) assert.equal(error.facts['reason'], reason, error.message);
    return true;
  };
}

test('each side learns the other’s SPIFFE ID, over TLS 1.3', async () => {
  const { port, accepted } = await listen();
  const socket = await dial(port);
  const { peer } = await accepted();
  assert.equal(peer.spiffeId, WEB_ID);
  assert.equal(peer.trustDomain, EAST);
  assert.match(peer.leafSha256, /^[0-9a-f]{64}$/);
  assert.equal(socket.getProtocol(), 'TLSv1.3');
});

test('a server that proves another SPIFFE ID than expected is refused', async () => {
  const { port } = await listen({ svids: svidOf('spiffe://east.acme.example/ns/shop/svc/paymentsx') });
  await assert.rejects(dial(port), refusedWith('DATAPLANE_PEER_REFUSED', 'wrong-id'));
});

test('an expired server certificate is refused by the caller', async () => {
  const { port } = await listen();
  await assert.rejects(dial(port, { clock: later }), refusedWith('DATAPLANE_PEER_REFUSED', 'expired'));
});

test('an expired client certificate is refused by the server', async () => {
  const { port, accepted } = await listen({ clock: later });
  const outcome = accepted();
  const socket = await dial(port);
  await assert.rejects(outcome, refusedWith('DATAPLANE_PEER_REFUSED', 'expired'));
  await closed(socket);
});

test('a caller without a certificate is refused', async () => {
  const { port, accepted } = await listen();
  const outcome = accepted();
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
  socket.on('error', () => undefined);
  await assert.rejects(outcome, refusedWith('DATAPLANE_PEER_REFUSED'));
  await closed(socket);
});

const hostilePki = openPki('p256', Date.now());

for (const kind of ['CR and LF in the SPIFFE ID', 'CR and LF in a DNS name', 'NUL in a DNS name', 'three hundred DNS names', 'ten thousand DNS names', 'six certificates', 'a hundred CAs, one above the other', 'two SPIFFE IDs', 'a leaf that signs a leaf']) {
  test(`a caller with a hostile chain is refused, its names in no message, and the next one is served (row 46): ${kind}`, async () => {
    const made = (of: string) => {
      const { chain, roots } = CHAIN_CASES.find((c) => c.kind === of)?.make(hostilePki) ?? assert.fail(`no case ${of}`);
      return { cert: chain.map((der) => toPem(der)).join(''), roots: roots.map((der) => der.toString('base64')) };
    };
    const [hostile, good] = [made(kind), made('a leaf, its CA and a root')];
    const bundle = { trustDomain: TRUST_DOMAIN, sequence: 1, refreshHintSeconds: 300, x509Authorities: [...hostile.roots, ...good.roots] };
    const { port, accepted } = await listen({ bundles: openBundleSet([bundle]), timeoutMs: 30_000 });
    const call = (cert: string): TLSSocket => {
      const socket = connectTls({ host: '127.0.0.1', port, cert, key: exportKeyPem(hostilePki.keys.leaf), rejectUnauthorized: false });
      socket.on('error', () => undefined);
      closers.push(() => socket.destroy());
      return socket;
    };
    const refused = accepted();
    const socket = call(hostile.cert);
    await assert.rejects(refused, (error) => error instanceof IsthmusError && error.code.startsWith('DATAPLANE_') && /^[\x20-\u{10ffff}]*$/u.test(error.message));
    await closed(socket);
    const served = accepted();
    call(good.cert);
    assert.equal((await served).peer.spiffeId, PAYMENTS_ID);
  });
}

test('another trust domain’s root cannot vouch for a name of this one, in either direction', async () => {
  const forged = testAuthority({ federation: 'acme.example', cluster: 'east' }); // same names, another key
  const impostor = await listen({ svids: { current: () => forged.issue(PAYMENTS_ID), onChange: () => () => undefined } });
  await assert.rejects(dial(impostor.port), refusedWith('DATAPLANE_PEER_REFUSED'));
  const { port, accepted } = await listen();
  const outcome = accepted();
  const caller = forged.issue(WEB_ID);
  void dial(port, { svids: { current: () => caller, onChange: () => () => undefined } }).catch(() => undefined);
  await assert.rejects(outcome, refusedWith('DATAPLANE_PEER_REFUSED'));
});

test('a caller of a trust domain without a bundle is refused: nothing fails open', async () => {
  const { port, accepted } = await listen({ bundles: openBundleSet([]) });
  const outcome = accepted();
  void dial(port).catch(() => undefined);
  await assert.rejects(outcome, refusedWith('DATAPLANE_PEER_REFUSED', 'no-bundle'));
});

test('a server of another trust domain than the endpoint’s is refused, though its bundle is held', async () => {
  const west = testAuthority({ federation: 'acme.example', cluster: 'west' });
  const bundles = openBundleSet([east.bundle, west.bundle]);
  const svid = west.issue('spiffe://west.acme.example/ns/shop/svc/payments' as SpiffeId);
  const { port } = await listen({ svids: { current: () => svid, onChange: () => () => undefined }, bundles });
  await assert.rejects(dial(port, { bundles }), refusedWith('DATAPLANE_PEER_REFUSED', 'wrong-trust-domain'));
});

test('a new SVID is used for the next connection, and open ones live on', async () => {
  let current: X509Svid = east.issue(PAYMENTS_ID);
  const rotating: SvidSource = { current: () => current, onChange: () => () => undefined };
  const { port, accepted } = await listen({ svids: rotating });
  const before = await dial(port);
  const first = await accepted();
  const oldLeaf = before.getPeerX509Certificate()?.fingerprint256;
  current = east.issue(PAYMENTS_ID);
  const afterwards = await dial(port);
  assert.notEqual(afterwards.getPeerX509Certificate()?.fingerprint256, oldLeaf);
  before.write('still open');
  const [data] = (await once(first.socket, 'data')) as [Buffer];
  assert.equal(data.toString(), 'still open');
});

test('a caller that sends no TLS, or nothing, loses only its own connection', async () => {
  const { port, accepted } = await listen({ timeoutMs: 200 });
  const plain = connect(port, '127.0.0.1');
  plain.on('error', () => undefined);
  const first = accepted();
  plain.write('GET / HTTP/1.1\r\n\r\n');
  await assert.rejects(first, refusedWith('DATAPLANE_HANDSHAKE_FAILED'));
  const silent = connect(port, '127.0.0.1');
  silent.on('error', () => undefined);
  await assert.rejects(accepted(), refusedWith('DATAPLANE_CONNECT_TIMEOUT'));
  await closed(silent);
  const reset = connect(port, '127.0.0.1', () => reset.resetAndDestroy());
  await assert.rejects(accepted(), refusedWith('DATAPLANE_HANDSHAKE_FAILED'));
  await dial(port);
  await accepted();
});

test('a server that accepts and never speaks is given up within the limit', async () => {
  const held: Socket[] = [];
  const tcp = createServer((s) => void held.push(s));
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  closers.push(() => tcp.close(), () => held.forEach((s) => s.destroy()));
  await assert.rejects(dial((tcp.address() as AddressInfo).port, { timeoutMs: 100 }), refusedWith('DATAPLANE_CONNECT_TIMEOUT'));
});

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
}
