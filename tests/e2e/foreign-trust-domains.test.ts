// Foreign trust domains in a running cluster: bundles by endpoint and by file, and callers let in where an export names them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { askOverTls, type Finished, isthmus, names, portNames, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { type BundleEndpointServer, serveBundleEndpoint } from '@isthmus/identity';
import type { SpiffeId, TrustDomain } from '@isthmus/model';
import { fixedSvidSource, makeBundleDocument, openBundleSet, parseBundleDocument } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';

const LIMIT_MS = 90_000;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-foreign-'));
const partner = testAuthority({ federation: 'partner.example', cluster: 'mesh' });
const TD = partner.trustDomain;
const BILLING = `spiffe://${TD}/billing`;
const SERVER = `spiffe://${TD}/spire/server`;
const bundles = openBundleSet([{ ...partner.bundle, refreshHintSeconds: 1 }]);
let endpoint: BundleEndpointServer;
let mesh: TestFederation;
let trustDomain: TrustDomain;

before(async () => {
  endpoint = await serveBundleEndpoint({ listen: { host: '127.0.0.1', port: 0 }, proof: { profile: 'https_spiffe', svids: fixedSvidSource(partner.issue(SERVER)) }, trustDomain: TD, bundles, clock: systemClock, log: silentLog(), metrics: openMetrics() });
  mesh = await startFederation({ topology: smallTopology(['east-1']), start: false });
  const { federation, topology } = mesh;
  const [east] = topology.clusters;
  const [agent] = east?.agents ?? [];
  assert.ok(east !== undefined && agent?.workload !== undefined);
  await federation.startTrustRoot();
  await federation.startControlPlane(east);
  await federation.declare(east);
  await Promise.all([federation.startGateway(east), federation.startWorkload(east, agent.workload), federation.startAgent(east, agent)]);
  trustDomain = `east.${mesh.topology.federation}` as TrustDomain;
}, { timeout: 120_000 });
after(async () => {
  await mesh?.close();
  await endpoint?.close();
  rmSync(directory, { recursive: true, force: true });
});

const cli = (...args: string[]): Promise<Finished> => isthmus(['--socket', mesh.paths.socket(names.controlPlane('east')), ...args], { limitMs: LIMIT_MS });
async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(...args);
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return stdout;
}
const sha256Of = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
const call = async (spiffeId: string, from = partner): Promise<string> =>
  (await askOverTls({ port: mesh.federation.port(names.gateway('east')), serverName: `http.payments.shop.svc.${trustDomain}`, svid: from.issue(spiffeId as SpiffeId) })).kind;
const isLetIn = (spiffeId: string) => waitFor(`${spiffeId} to be let in`, LIMIT_MS, async () => ((await call(spiffeId)) === 'answered' ? true : undefined));
const isRefused = (spiffeId: string) => waitFor(`${spiffeId} to be refused`, LIMIT_MS, async () => ((await call(spiffeId)) === 'refused' ? true : undefined));
const stateOf = async (): Promise<Record<string, unknown> | undefined> =>
  (JSON.parse(await ok('trust', 'list', '-o', 'json')) as Record<string, unknown>[]).find((s) => s['trustDomain'] === TD);

/** The cluster's own document, by name and port. */
function ownDocument(port: number, servername: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, servername, rejectUnauthorized: false, agent: false, timeout: 20_000 }, (res) => {
      const parts: Buffer[] = [];
      res.on('data', (part: Buffer) => parts.push(part)).on('end', () => (res.statusCode === 200 ? resolve(Buffer.concat(parts)) : reject(new Error(String(res.statusCode)))));
    })
      .on('error', reject)
      .end();
  });
}

test('a cluster’s bundle is had at its own port and through the gateway’s one port, and is what the CLI exports', { timeout: 120_000 }, async () => {
  const direct = await ownDocument(mesh.federation.port(portNames.bundle('east')), 'localhost');
  const byGateway = await ownDocument(mesh.federation.port(names.gateway('east')), `bundle.isthmus.${trustDomain}`);
  assert.deepEqual(byGateway, direct);
  const parsed = parseBundleDocument(direct, trustDomain);
  assert.ok(parsed.ok && parsed.value.bundle.x509Authorities.length > 0);
  const file = join(directory, 'east.json');
  await ok('trust', 'bundle', 'export', '--out', file);
  const exported = parseBundleDocument(readFileSync(file), trustDomain);
  assert.ok(exported.ok);
  assert.deepEqual(exported.value.bundle.x509Authorities, parsed.value.bundle.x509Authorities);
  assert.match(await ok('trust', 'bundle', 'show'), /x509-svid/);
});

test('a foreign caller is refused until its trust domain is federated and an export names it, and other callers after that', { timeout: 240_000 }, async () => {
  assert.equal(await call(BILLING), 'refused');
  const file = join(directory, 'partner.json');
  writeFileSync(file, makeBundleDocument(partner.bundle));
  const federate = ['trust', 'federate', TD, '--url', `https://127.0.0.1:${endpoint.port}/`, '--spiffe-id', SERVER, '--bundle', file];
  const unasked = await cli(...federate);
  assert.notEqual(unasked.code, 0);
  assert.match(unasked.stderr, /--sha256 is needed/);
  const wrong = await cli(...federate, '--sha256', 'ab'.repeat(32));
  assert.match(wrong.stderr, /IDENTITY_BUNDLE_FINGERPRINT|has SHA-256/);
  await ok(...federate, '--sha256', sha256Of(file));
  await waitFor('a good poll', LIMIT_MS, async () => ((await stateOf())?.['state'] === 'ok' ? true : undefined));
  // The bundle is with every proxy by now or soon; nothing names it yet.
  assert.equal(await call(BILLING), 'refused');
  await ok('export', 'apply', 'shop/payments', '--foreign', BILLING);
  await isLetIn(BILLING);
  assert.equal(await call(`spiffe://${TD}/other`), 'refused');
  const forged = testAuthority({ federation: 'partner.example', cluster: 'mesh' });
  assert.equal(await call(BILLING, forged), 'refused');
  assert.equal(await call(`spiffe://${trustDomain}/ns/shop/svc/web`, testAuthority({ federation: mesh.topology.federation, cluster: 'east' })), 'refused');
  await ok('export', 'apply', 'shop/payments', '--foreign', TD);
  await isLetIn(`spiffe://${TD}/other`);
});

test('a new root of the foreign trust domain is followed, and the last good bundle holds while the control plane is killed and the endpoint is away', { timeout: 240_000 }, async () => {
  const next = testAuthority({ federation: 'partner.example', cluster: 'mesh' });
  bundles.update({ ...partner.bundle, refreshHintSeconds: 1, sequence: 2, x509Authorities: [...partner.bundle.x509Authorities, ...next.bundle.x509Authorities] });
  await waitFor('the new root', LIMIT_MS, async () => ((await call(BILLING, next)) === 'answered' ? true : undefined));
  await endpoint.close();
  await mesh.supervisor.kill(names.controlPlane('east'));
  assert.equal(await call(BILLING, next), 'answered');
  const [east] = mesh.topology.clusters;
  assert.ok(east);
  await mesh.federation.startControlPlane(east);
  await waitFor('the failed poll', LIMIT_MS, async () => ((await stateOf())?.['state'] === 'failing' ? true : undefined));
  assert.equal((await stateOf())?.['sequence'], 2);
  assert.match(await ok('status'), /foreign trust domain mesh\.partner\.example: last good bundle/);
  assert.equal(await call(BILLING, next), 'answered');
  const old = join(directory, 'old.json');
  writeFileSync(old, makeBundleDocument(partner.bundle));
  const refused = await cli('trust', 'bundle', 'import', TD, old, '--sha256', sha256Of(old));
  assert.match(refused.stderr, /its sequence is 1/);
});

test('a trust domain of ours cannot be federated; one that is dropped is let in no longer', { timeout: 240_000 }, async () => {
  const ours = await cli('trust', 'federate', trustDomain);
  assert.match(ours.stderr, /of this federation/);
  await isLetIn(BILLING);
  await ok('trust', 'drop', TD);
  await isRefused(BILLING);
  assert.equal(await stateOf(), undefined);
  assert.notEqual((await cli('trust', 'drop', TD)).code, 0);
});
