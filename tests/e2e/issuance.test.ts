// Rows 41 and 42 over the wire: who may have which identity, and what of a CSR reaches a certificate.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findProgram, names, run, smallTopology, startFederation, type TestFederation } from '@isthmus/harness';
import { type Identity, joinOrResume } from '@isthmus/identity';
import { IsthmusError, spiffeIds, type SpiffeId } from '@isthmus/model';
import { generateKey, makeCsr } from '@isthmus/pki';
import { call, identity, openChannel } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-issuance-'));
const CART = { namespace: 'shop', name: 'cart' };
let mesh: TestFederation;
let agent: Identity;

before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1']), start: false });
  const [east] = mesh.topology.clusters;
  assert.ok(east);
  await mesh.federation.startTrustRoot();
  await mesh.federation.startControlPlane(east);
  const { token } = await mesh.federation.admin('east').createJoinToken({ agent: 'tester', role: 'agent', services: ['shop/cart'], ttlSeconds: 60 });
  agent = await joinAs(token);
}, { timeout: 60_000 });
after(async () => {
  await agent.close();
  await mesh.close();
  rmSync(directory, { recursive: true, force: true });
});

function joinAs(token: string): Promise<Identity> {
  return joinOrResume({ stateDir: mkdtempSync(join(directory, 'agent-')), token, server: { address: `127.0.0.1:${mesh.federation.port(names.controlPlane('east'))}` }, clock: systemClock, random: systemRandom, log: silentLog() });
}

async function issue(csr: Buffer, service = CART): Promise<X509Certificate> {
  const client = agent.channel().client(identity.IssuanceClient);
  const { chain } = await call(client.issueService.bind(client), { csr, namespace: service.namespace, service: service.name }, { timeoutMs: 5_000 });
  assert.ok(chain[0]);
  return new X509Certificate(chain[0]);
}

const refusedAs = (...classes: string[]) => (error: unknown) => error instanceof IsthmusError && classes.includes(error.class);
const csrFor = (id: SpiffeId): Buffer => makeCsr({ key: generateKey(), spiffeId: id });

test('an agent gets the SVID of a service its token named', async () => {
  const certificate = await issue(csrFor(spiffeIds.service(agent.trustDomain, CART)));
  assert.match(certificate.subjectAltName ?? '', /URI:spiffe:\/\/east\.demo\.isthmus\.example\/ns\/shop\/svc\/cart/);
});

test('a service the agent may not have is denied, whatever the CSR says', async () => {
  const payments = { namespace: 'shop', name: 'payments' };
  await assert.rejects(issue(csrFor(spiffeIds.service(agent.trustDomain, payments)), payments), refusedAs('denied'));
  await assert.rejects(issue(csrFor(spiffeIds.service(agent.trustDomain, payments))), refusedAs('denied', 'invalid'));
  await assert.rejects(issue(csrFor(spiffeIds.controlPlane(agent.trustDomain))), refusedAs('denied', 'invalid'));
});

test('a caller without an identity gets nothing', async () => {
  const channel = openChannel({ address: `127.0.0.1:${mesh.federation.port(names.controlPlane('east'))}`, serverName: `control-plane.isthmus.${agent.trustDomain}`, expectedId: spiffeIds.controlPlane(agent.trustDomain), bundles: agent.bundles, log: silentLog() });
  const client = channel.client(identity.IssuanceClient);
  await assert.rejects(call(client.issueService.bind(client), { csr: csrFor(spiffeIds.service(agent.trustDomain, CART)), namespace: 'shop', service: 'cart' }, { timeoutMs: 5_000 }), refusedAs('unauthenticated', 'denied'));
  channel.close();
});

test('garbage and a CSR signed by another key are refused', async () => {
  const good = csrFor(spiffeIds.service(agent.trustDomain, CART));
  await assert.rejects(issue(Buffer.from('no CSR at all')), refusedAs('invalid'));
  await assert.rejects(issue(Buffer.alloc(0)), refusedAs('invalid'));
  await assert.rejects(issue(Buffer.alloc(64 * 1024, 0x30)), refusedAs('invalid', 'exhausted'));
  const tampered = Buffer.from(good);
  tampered[tampered.length - 1] = (tampered.at(-1) ?? 0) ^ 1;
  await assert.rejects(issue(tampered), refusedAs('invalid'));
});

test('CSRs of openssl: weak and huge keys and several URI names are refused, CA:true and extra names never reach a certificate', { skip: findProgram('openssl') === undefined ? 'no openssl on PATH' : false }, async () => {
  const id = spiffeIds.service(agent.trustDomain, CART);
  const weak = await opensslCsr(['-newkey', 'rsa:1024'], [`subjectAltName=URI:${id}`]);
  await assert.rejects(issue(weak), refusedAs('invalid'));
  const two = await opensslCsr(['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'], [`subjectAltName=URI:${id},URI:spiffe://east.demo.isthmus.example/control-plane`]);
  await assert.rejects(issue(two), refusedAs('invalid', 'denied'));
  const greedy = await opensslCsr(['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'], [`subjectAltName=URI:${id},DNS:bank.example`, 'basicConstraints=critical,CA:true', 'keyUsage=keyCertSign']);
  const outcome = await issue(greedy).catch((error: unknown) => error);
  if (outcome instanceof X509Certificate) {
    assert.equal(outcome.ca, false);
    assert.doesNotMatch(outcome.subjectAltName ?? '', /bank\.example/);
    assert.doesNotMatch(outcome.subject ?? '', /mallory/);
  } else {
    assert.ok(refusedAs('invalid', 'denied')(outcome), String(outcome));
  }
});

test('row 42: a join token works once; its second use is refused and says so', async () => {
  const { token } = await mesh.federation.admin('east').createJoinToken({ agent: 'single', role: 'agent', services: [], ttlSeconds: 60 });
  await (await joinAs(token)).close();
  await assert.rejects(joinAs(token), (error: unknown) => error instanceof IsthmusError && /used|spent/i.test(error.message));
  const log = mesh.log(names.controlPlane('east'));
  assert.match(log, /join/i, 'and the control plane wrote it down');
  assert.equal(log.includes(token), false);
});

async function opensslCsr(key: readonly string[], extensions: readonly string[]): Promise<Buffer> {
  const out = join(mkdtempSync(join(directory, 'csr-')), 'csr.der');
  const made = await run('openssl', ['req', '-new', '-nodes', ...key, '-keyout', `${out}.key`, '-subj', '/CN=mallory', '-outform', 'DER', '-out', out, ...extensions.flatMap((e) => ['-addext', e])]);
  assert.equal(made.code, 0, made.stderr);
  return readFileSync(out);
}
