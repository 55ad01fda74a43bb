import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { IsthmusError, type SpiffeId } from '@isthmus/model';
import { fixedSvidSource, openBundleSet, sha256Hex, svidToPem, type X509Svid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { call, callerOf, fetchPinnedRoot, handleUnary, health, openChannel, type RpcChannel, type RpcServer, startRpcServer } from './index.ts';

const NAME = 'control-plane.isthmus.east.acme.example';
const SERVER_ID = 'spiffe://east.acme.example/control-plane' as SpiffeId;
const log = silentLog();
const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });
const stranger = testAuthority();
const bundles = openBundleSet([east.bundle, west.bundle]);

/** Answers SERVING to a caller with an identity, and fails with a coded error for service `fail`. */
function healthService(seen: (string | undefined)[] = []) {
  return {
    definition: health.HealthService,
    implementation: {
      check: handleUnary<health.HealthCheckRequest, health.HealthCheckResponse>(async (request, serverCall) => {
        seen.push(callerOf(serverCall)?.spiffeId);
        if (request.service === 'fail') throw new IsthmusError('STORE_UNAVAILABLE', 'unavailable', 'the store is away', { hint: 'wait' });
        if (request.service === 'bug') throw new Error('secret insides');
        return { status: 1 };
      }),
    },
  };
}

function start(seen?: (string | undefined)[], metrics = openMetrics()): Promise<RpcServer> {
  return startRpcServer({ listen: { host: '127.0.0.1', port: 0 }, svids: fixedSvidSource(east.issue(SERVER_ID)), bundles, services: [healthService(seen)], log, metrics });
}

function dial(server: RpcServer, options: { readonly svid?: X509Svid; readonly expectedId?: SpiffeId } = {}): RpcChannel {
  return openChannel({
    address: server.address,
    serverName: NAME,
    expectedId: options.expectedId ?? SERVER_ID,
    bundles,
    ...(options.svid && { svids: fixedSvidSource(options.svid) }),
    log,
  });
}

async function check(channel: RpcChannel, service = ''): Promise<number> {
  const client = channel.client(health.HealthClient);
  return (await call(client.check.bind(client), { service }, { timeoutMs: 5_000 })).status;
}

/** Runs with a server and its channels, and closes both. */
async function withServer(use: (server: RpcServer, seen: (string | undefined)[]) => Promise<void>): Promise<void> {
  const seen: (string | undefined)[] = [];
  const server = await start(seen);
  try {
    await use(server, seen);
  } finally {
    await server.close(500);
  }
}

test('a caller of another cluster is known by its whole SPIFFE ID', () =>
  withServer(async (server, seen) => {
    const channel = dial(server, { svid: west.issue('spiffe://west.acme.example/agent/a') });
    assert.equal(await check(channel), 1);
    assert.deepEqual(seen, ['spiffe://west.acme.example/agent/a']);
    channel.close();
  }));

test('a caller without a certificate is served as nobody', () =>
  withServer(async (server, seen) => {
    const channel = dial(server);
    assert.equal(await check(channel), 1);
    assert.deepEqual(seen, [undefined]);
    channel.close();
  }));

test('a caller with a certificate of a foreign root, or of another cluster’s CA, is refused', () =>
  withServer(async (server, seen) => {
    const foreign = stranger.issue('spiffe://east.acme.example/agent/a');
    const forged = west.issue('spiffe://east.acme.example/agent/a');
    const expired = east.issue('spiffe://east.acme.example/agent/a', { nowMs: Date.now() - 7_200_000, ttlMs: 3_600_000 });
    for (const svid of [foreign, forged, expired]) {
      const channel = dial(server, { svid });
      await assert.rejects(check(channel), { code: 'RPC_UNAVAILABLE' });
      channel.close();
    }
    assert.deepEqual(seen, []);
  }));

test('a server that is somebody else is not talked to', () =>
  withServer(async (server, seen) => {
    const channel = dial(server, { expectedId: 'spiffe://west.acme.example/control-plane' as SpiffeId });
    await assert.rejects(check(channel), /the server is spiffe:\/\/east\.acme\.example\/control-plane/);
    channel.close();
    assert.deepEqual(seen, []);
  }));

test('a new SVID is used by the next connection, on both sides, without a new channel', async () => {
  const seen: (string | undefined)[] = [];
  let serverSvid = east.issue(SERVER_ID);
  const listeners = new Set<(svid: X509Svid) => void>();
  const svids = { current: () => serverSvid, onChange: (fn: (svid: X509Svid) => void) => (listeners.add(fn), () => void listeners.delete(fn)) };
  const server = await startRpcServer({ listen: { host: '127.0.0.1', port: 0 }, svids, bundles, services: [healthService(seen)], log });
  try {
    serverSvid = east.issue(SERVER_ID);
    for (const fn of listeners) fn(serverSvid);
    const presented = await new Promise<string>((resolve) => {
      const socket = connect({ port: server.port, host: '127.0.0.1', servername: NAME, rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
        resolve(socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase());
        socket.destroy();
      });
    });
    assert.equal(presented, sha256Hex(serverSvid.chain[0] ?? Buffer.alloc(0)));
  } finally {
    await server.close(500);
  }
});

test('row 36: a connection that stands on a revoked root is closed at either end; one that does not stays', async () => {
  const seen: (string | undefined)[] = [];
  for (const end of ['server', 'client'] as const) {
    const sides = { server: openBundleSet(bundles.all()), client: openBundleSet(bundles.all()) };
    const server = await startRpcServer({ listen: { host: '127.0.0.1', port: 0 }, svids: fixedSvidSource(east.issue(SERVER_ID)), bundles: sides.server, services: [healthService(seen)], log });
    const channel = openChannel({ address: `127.0.0.1:${server.port}`, serverName: NAME, expectedId: SERVER_ID, svids: fixedSvidSource(east.issue('spiffe://east.acme.example/agent/a')), bundles: sides.client, log });
    try {
      assert.equal(await check(channel), 1);
      sides[end].revoke(['ab'.repeat(32)]);
      assert.equal(await check(channel), 1, 'its root is still there');
      const other = testAuthority({ cluster: 'east' });
      sides[end].update({ ...east.bundle, sequence: east.bundle.sequence + 1, x509Authorities: other.bundle.x509Authorities });
      await assert.rejects(check(channel), { code: 'RPC_UNAVAILABLE' });
    } finally {
      channel.close();
      await server.close(500);
    }
  }
});

test('row 48: a banned caller, and a banned server, are refused at the next handshake, and what is open is closed; a ban that is lifted is over', async () => {
  const callerId = 'spiffe://east.acme.example/agent/a';
  for (const [end, banned] of [['server', callerId], ['client', SERVER_ID]] as const) {
    const sides = { server: openBundleSet(bundles.all()), client: openBundleSet(bundles.all()) };
    const server = await startRpcServer({ listen: { host: '127.0.0.1', port: 0 }, svids: fixedSvidSource(east.issue(SERVER_ID)), bundles: sides.server, services: [healthService()], log });
    const open = (spiffeId: string): RpcChannel => openChannel({ address: `127.0.0.1:${server.port}`, serverName: NAME, expectedId: SERVER_ID, svids: fixedSvidSource(east.issue(spiffeId)), bundles: sides.client, log });
    const channels = [open(callerId), open(callerId), open('spiffe://east.acme.example/agent/b')] as const;
    try {
      const [before, fresh, other] = channels;
      assert.equal(await check(before), 1);
      sides[end].ban('east.acme.example', [{ spiffeId: banned, issuedBeforeMs: Date.now() + 60_000, expiresAtMs: Date.now() + 3_600_000 }]);
      await assert.rejects(check(before), { code: 'RPC_UNAVAILABLE' }, `${end}: the open one`);
      await assert.rejects(check(fresh), { code: 'RPC_UNAVAILABLE' }, `${end}: a new one`);
      if (end === 'server') assert.equal(await check(other), 1, 'another caller');
      sides[end].ban('east.acme.example', []);
      const again = open(callerId);
      assert.equal(await check(again), 1);
      again.close();
    } finally {
      for (const channel of channels) channel.close();
      await server.close(500);
    }
  }
});

test('a coded failure arrives as the same error; an uncoded one tells nothing of itself', () =>
  withServer(async (server) => {
    const channel = dial(server, { svid: east.issue('spiffe://east.acme.example/agent/a') });
    await assert.rejects(check(channel, 'fail'), { code: 'STORE_UNAVAILABLE', class: 'unavailable', message: 'the store is away', hint: 'wait' });
    await assert.rejects(check(channel, 'bug'), (error: Error) => !error.message.includes('secret'));
    channel.close();
  }));

test('bytes that are no TLS are refused and counted', async () => {
  const metrics = openMetrics();
  const server = await start([], metrics);
  try {
    const { connect: connectTcp } = await import('node:net');
    await new Promise<void>((resolve) => {
      const socket = connectTcp(server.port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\n\r\n'));
      socket.on('error', () => undefined).once('close', () => resolve());
    });
    assert.match(await metrics.text(), /isthmus_rpc_refused_connections_total\{reason="handshake"\} 1/);
  } finally {
    await server.close(500);
  }
});

test('the pinned root is found, and no other is taken', () =>
  withServer(async (server) => {
    const request = { address: server.address, serverName: NAME, timeoutMs: 5_000 };
    const root = await fetchPinnedRoot({ ...request, pinsSha256: [sha256Hex('none'), sha256Hex(east.root.cert)] });
    assert.ok(root.equals(east.root.cert));
    await assert.rejects(fetchPinnedRoot({ ...request, pinsSha256: [sha256Hex('another')] }), { code: 'RPC_PIN_MISMATCH' });
  }));

test('a busy port is named', async () => {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
  const address = holder.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await assert.rejects(
    startRpcServer({ listen: { host: '127.0.0.1', port }, svids: fixedSvidSource(east.issue(SERVER_ID)), bundles, services: [], log }),
    (error: IsthmusError) => error.code === 'RPC_PORT_BUSY' && error.message.includes(String(port)),
  );
  await new Promise((resolve) => holder.close(resolve));
});

test('a Unix socket is private, replaces a dead one, and never a live one or another file', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'isthmus-rpc-')), 'admin.sock');
  writeFileSync(path, 'a file of somebody');
  await assert.rejects(startRpcServer({ listen: { unixPath: path }, services: [], log }), { code: 'RPC_SOCKET_PATH' });
  rmSync(path);
  // A process that is killed leaves its socket behind.
  spawnSync(process.execPath, ['-e', 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))', path]);
  assert.ok(statSync(path).isSocket());
  const server = await startRpcServer({ listen: { unixPath: path }, services: [healthService()], log });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const channel = openChannel({ address: `unix:${path}`, log });
  assert.equal(await check(channel), 1);
  await assert.rejects(startRpcServer({ listen: { unixPath: path }, services: [], log }), { code: 'RPC_SOCKET_BUSY' });
  channel.close();
  await server.close(500);
  assert.equal(existsSync(path), false);
});

test('a TLS certificate in PEM can be served with its key', () => {
  const { certPem, keyPem } = svidToPem(east.issue(SERVER_ID));
  assert.match(certPem, /BEGIN CERTIFICATE/);
  assert.match(keyPem, /BEGIN PRIVATE KEY/);
});
