// A real SPIRE and a real cluster, federated in both directions by both profiles; built by tests/interop/spire/build.sh.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { askOverTls, isthmus, names, portNames, reservePorts, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { type BundleEndpointServer, serveBundleEndpoint } from '@isthmus/identity';
import type { TrustDomain } from '@isthmus/model';
import { makeX509Svid, openBundleSet, parseBundleDocument, type X509Svid } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { spireProgram, type SpireServer, startSpire } from './spire/server.ts';

const LIMIT_MS = 120_000;
const skip = spireProgram('spire-server') === undefined || spireProgram('spire-agent') === undefined ? 'SPIRE is not here: sh tests/interop/spire/build.sh DIRECTORY, then ISTHMUS_SPIRE=DIRECTORY' : false;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-spire-'));
const [certificateFile, keyFile] = [join(directory, 'web.pem'), join(directory, 'web.key')];
let mesh: TestFederation;
let web: BundleEndpointServer;
let ours: string;
let spiffe: SpireServer;
let spireWeb: SpireServer;

before(async () => {
  if (skip !== false) return;
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile, '-out', certificateFile, '-subj', '/CN=bundles', '-days', '2', '-addext', 'subjectAltName=IP:127.0.0.1'], { stdio: 'ignore' });
  execFileSync('chmod', ['600', keyFile]);
  mesh = await startFederation({ topology: smallTopology(['east-1']), start: false });
  const { federation, topology } = mesh;
  const [east] = topology.clusters;
  const [agent] = east?.agents ?? [];
  assert.ok(east !== undefined && agent?.workload !== undefined);
  ours = east.trustDomain;
  await federation.startTrustRoot();
  await federation.startControlPlane(east);
  await federation.declare(east);
  await Promise.all([federation.startGateway(east), federation.startWorkload(east, agent.workload), federation.startAgent(east, agent)]);
  // The same bundle by https_web, since a control plane has one endpoint.
  const { stdout } = await isthmus(['--socket', mesh.paths.socket(names.controlPlane('east')), 'trust', 'bundle', 'export'], { limitMs: LIMIT_MS });
  const parsed = parseBundleDocument(Buffer.from(stdout), ours as TrustDomain);
  assert.ok(parsed.ok);
  web = await serveBundleEndpoint({ listen: { host: '127.0.0.1', port: 0 }, proof: { profile: 'https_web', certificateFile, keyFile }, trustDomain: ours as TrustDomain, bundles: openBundleSet([parsed.value.bundle]), clock: systemClock, log: silentLog(), metrics: openMetrics() });
  const { from } = await reservePorts();
  const start = (name: string, at: number, profile: Parameters<typeof startSpire>[0]['profile']) =>
    startSpire({ directory: mkdtempSync(join(directory, `${name}-`)), trustDomain: `${name}.example`, ports: { api: from + at, bundle: from + at + 1 }, profile, env: { SSL_CERT_FILE: certificateFile } });
  spiffe = await start('spire', 0, 'https_spiffe');
  spireWeb = await start('spireweb', 2, { certificateFile, keyFile });
}, { timeout: 300_000 });
after(async () => {
  spiffe?.close();
  spireWeb?.close();
  await web?.close();
  await mesh?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await isthmus(['--socket', mesh.paths.socket(names.controlPlane('east')), ...args], { limitMs: LIMIT_MS });
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return stdout;
}
const stateOf = async (trustDomain: string) => (JSON.parse(await cli('trust', 'list', '-o', 'json')) as Record<string, unknown>[]).find((s) => s['trustDomain'] === trustDomain);
const isGood = (trustDomain: string) => waitFor(`a good poll of ${trustDomain}`, LIMIT_MS, async () => ((await stateOf(trustDomain))?.['state'] === 'ok' ? true : undefined));
/** What SPIRE says of us, once it has polled: the certificates of our bundle. */
const listedBy = (spire: SpireServer) => waitFor(`${spire.trustDomain} to list ${ours}`, LIMIT_MS, async () => {
  const listed = await spire.command('bundle', 'list', '-id', `spiffe://${ours}`, '-format', 'spiffe').catch(() => '');
  return listed.includes('x5c') ? listed : undefined;
});
const bundleFile = async (spire: SpireServer): Promise<readonly [string, string]> => {
  const file = join(directory, `${spire.trustDomain}.json`);
  writeFileSync(file, await spire.command('bundle', 'show', '-format', 'spiffe'));
  return [file, createHash('sha256').update(readFileSync(file)).digest('hex')];
};

test('SPIRE takes our bundle, by https_spiffe and by https_web', { timeout: 300_000, skip }, async () => {
  const file = join(directory, 'ours.json');
  await cli('trust', 'bundle', 'export', '--out', file);
  await spiffe.command('federation', 'create', '-trustDomain', ours, '-bundleEndpointProfile', 'https_spiffe', '-bundleEndpointURL', `https://127.0.0.1:${mesh.federation.port(portNames.bundle('east'))}`, '-endpointSpiffeID', `spiffe://${ours}/control-plane`, '-trustDomainBundlePath', file, '-trustDomainBundleFormat', 'spiffe');
  await spireWeb.command('federation', 'create', '-trustDomain', ours, '-bundleEndpointProfile', 'https_web', '-bundleEndpointURL', `https://127.0.0.1:${web.port}`);
  const own = parseBundleDocument(readFileSync(file), ours as TrustDomain);
  assert.ok(own.ok);
  for (const spire of [spiffe, spireWeb]) {
    const theirs = await listedBy(spire);
    for (const base64 of own.value.bundle.x509Authorities) assert.ok(theirs.replaceAll('\\/', '/').includes(base64), `${spire.trustDomain} lists another certificate`);
  }
  await spiffe.command('federation', 'refresh', '-id', ours);
  await waitFor('SPIRE to have polled us', LIMIT_MS, async () => (/Bundle refreshed|bundle refreshed|Successfully refreshed/i.test(spiffe.log()) ? true : undefined));
});

test('we take SPIRE’s bundle, by https_spiffe and by https_web', { timeout: 300_000, skip }, async () => {
  const [file, sha256] = await bundleFile(spiffe);
  await cli('trust', 'federate', spiffe.trustDomain, '--url', spiffe.bundleUrl, '--spiffe-id', spiffe.spiffeId, '--bundle', file, '--sha256', sha256);
  await cli('trust', 'federate', spireWeb.trustDomain, '--profile', 'https_web', '--url', spireWeb.bundleUrl, '--ca', certificateFile);
  for (const spire of [spiffe, spireWeb]) {
    await isGood(spire.trustDomain);
    assert.equal((await stateOf(spire.trustDomain))?.['x509Authorities'], 1);
  }
});

test('a workload with an SVID of SPIRE’s agent calls our service where the export names it, and is refused where not', { timeout: 300_000, skip }, async () => {
  const billing = `spiffe://${spiffe.trustDomain}/billing`;
  const { certPem, keyPem, federatedPem } = await spiffe.workloadSvid(billing, `spiffe://${ours}`);
  assert.match(federatedPem, /BEGIN CERTIFICATE/, 'SPIRE’s agent hands our bundle to its workload');
  const chain = certPem.split(/(?=-----BEGIN CERTIFICATE)/).filter((pem) => pem.trim() !== '').map((pem) => new X509Certificate(pem).raw);
  const svid: X509Svid = makeX509Svid(chain, createPrivateKey(keyPem));
  const call = async (): Promise<string> => (await askOverTls({ port: mesh.federation.port(names.gateway('east')), serverName: `http.payments.shop.svc.${ours}`, svid })).kind;
  const becomes = (wanted: string) => waitFor(`the call to be ${wanted}`, LIMIT_MS, async () => ((await call()) === wanted ? true : undefined));
  assert.equal(await call(), 'refused');
  await cli('export', 'apply', 'shop/payments', '--foreign', billing);
  await becomes('answered');
  await cli('export', 'apply', 'shop/payments', '--foreign', `spiffe://${spiffe.trustDomain}/another`);
  await becomes('refused');
  await cli('export', 'apply', 'shop/payments', '--foreign', spiffe.trustDomain);
  await becomes('answered');
  await cli('trust', 'drop', spiffe.trustDomain);
  await becomes('refused');
});
