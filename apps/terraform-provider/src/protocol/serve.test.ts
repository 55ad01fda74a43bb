import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { after, test } from 'node:test';
import { parseSpiffeId, parseTrustDomain, valueOf } from '@isthmus/model';
import { exportKeyPem, generateKey, signRoot, signSvid, toPem } from '@isthmus/pki';
import { call, ChannelCredentials, plugin, terraform } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { makeProvider } from '../provider.ts';
import { objectOf } from './attribute.ts';
import { encodeValue } from './cty.ts';
import { openEngine } from './engine.ts';
import { handshakeLine, readHandshake } from './handshake.ts';
import { serveProvider } from './serve.ts';

const COOKIE = { TF_PLUGIN_MAGIC_COOKIE: 'd602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2' };
const LIMIT = { timeoutMs: 20_000 };

test('whoever is not Terraform is told what this is', () => {
  assert.throws(() => readHandshake({}), { code: 'TERRAFORM_NOT_STARTED' });
  assert.throws(() => readHandshake({ TF_PLUGIN_MAGIC_COOKIE: 'x' }), { code: 'TERRAFORM_NOT_STARTED' });
  assert.throws(() => readHandshake({ ...COOKIE, PLUGIN_PROTOCOL_VERSIONS: '4,5' }), { code: 'TERRAFORM_PROTOCOL' });
  assert.deepEqual(readHandshake({ ...COOKIE, PLUGIN_PROTOCOL_VERSIONS: '5,6', PLUGIN_CLIENT_CERT: 'pem' }), { clientCertPem: 'pem' });
});

test('the handshake is one line, with the certificate in base64 without padding', () => {
  assert.equal(handshakeLine('/x/s', Buffer.from([1])), '1|6|unix|/x/s|grpc|AQ\n');
  assert.equal(handshakeLine('/x/s', undefined), '1|6|unix|/x/s|grpc|\n');
});

/** A self-signed client like Terraform's, by its PEM. */
function client() {
  const key = generateKey();
  const trustDomain = valueOf(parseTrustDomain('terraform.test'));
  const nowMs = systemClock.nowMs();
  const ca = signRoot({ key, federation: trustDomain, nowMs, ttlMs: 3_600_000 });
  const leafKey = generateKey();
  const leaf = signSvid({ issuer: { cert: ca, key }, publicKey: createPublicKey(leafKey), spiffeId: valueOf(parseSpiffeId('spiffe://terraform.test/core')), nowMs, ttlMs: 3_600_000 });
  return { caPem: toPem(ca), certPem: toPem(leaf) + toPem(ca), keyPem: exportKeyPem(leafKey) };
}

async function served() {
  const core = client();
  const engine = openEngine(makeProvider({ env: {}, clock: systemClock, random: systemRandom }), systemClock);
  const server = await serveProvider({ engine, handshake: { clientCertPem: core.caPem }, clock: systemClock });
  after(() => server.close());
  const dial = (as = core) =>
    ChannelCredentials.createSsl(Buffer.from(toPem(server.serverCa ?? Buffer.alloc(0))), Buffer.from(as.keyPem), Buffer.from(as.certPem));
  const options = { 'grpc.ssl_target_name_override': 'localhost', 'grpc.default_authority': 'localhost' };
  return { server, dial, options, target: `unix:${server.socketPath}` };
}

test('Terraform’s certificate is let in and proves the server by the one in the handshake; another’s is not', async () => {
  const { server, dial, options, target } = await served();
  const known = new terraform.ProviderClient(target, dial(), options);
  const schema = await call(known.getProviderSchema.bind(known), {}, LIMIT);
  assert.deepEqual(Object.keys(schema.resourceSchemas).filter((name) => name === 'isthmus_service' || name === 'isthmus_join_token'), ['isthmus_service', 'isthmus_join_token']);
  const token = schema.resourceSchemas['isthmus_join_token']?.block?.attributes.find((a) => a.name === 'token');
  assert.deepEqual([token?.sensitive, token?.computed, token?.optional], [true, true, false]);
  assert.equal(schema.provider?.block?.attributes.find((a) => a.name === 'client_key')?.sensitive, true);
  known.close();
  const stranger = new terraform.ProviderClient(target, dial(client()), options);
  await assert.rejects(call(stranger.getProviderSchema.bind(stranger), {}, LIMIT));
  stranger.close();
  await server.close();
  assert.ok(!existsSync(server.socketPath), 'the socket’s folder is gone');
});

test('a problem comes with its attribute’s path, and what no schema knows is a diagnostic, not a broken call', async () => {
  const { dial, options, target } = await served();
  const core = new terraform.ProviderClient(target, dial(), options);
  const provider = makeProvider({ env: {}, clock: systemClock, random: systemRandom });
  const service = provider.resources.find((r) => r.typeName === 'isthmus_service');
  assert.ok(service);
  const type = objectOf({ ...service.attributes, timeouts: { type: objectOf({}), mode: 'optional', description: '' } });
  const config = { msgpack: Buffer.from(encodeValue(type, { namespace: 'shop', name: 'a', ports: [{ name: 'x', port: 0, protocol: 'http' }] })), json: Buffer.alloc(0) };
  const { diagnostics } = await call(core.validateResourceConfig.bind(core), { typeName: 'isthmus_service', config }, LIMIT);
  assert.deepEqual(diagnostics.map((d) => d.attribute?.steps.map((s) => s.selector?.value)), [['ports', 0n, 'port']]);
  const unknown = await call(core.validateResourceConfig.bind(core), { typeName: 'isthmus_gizmo', config }, LIMIT);
  assert.match(unknown.diagnostics[0]?.detail ?? '', /isthmus_gizmo/);
  const broken = await call(core.validateResourceConfig.bind(core), { typeName: 'isthmus_service', config: { msgpack: Buffer.of(0xc1), json: Buffer.alloc(0) } }, LIMIT);
  assert.match(broken.diagnostics[0]?.detail ?? '', /TERRAFORM_VALUE_INVALID/);
  const newer = await call(core.upgradeResourceState.bind(core), { typeName: 'isthmus_service', version: 7n, rawState: { json: Buffer.from('{}'), flatmap: {} } }, LIMIT);
  assert.match(newer.diagnostics[0]?.detail ?? '', /TERRAFORM_STATE_NEWER/);
  core.close();
});

test('it ends when Terraform asks, and when Terraform is gone without a word', async () => {
  const asked = await served();
  const controller = new plugin.GRPCControllerClient(asked.target, asked.dial(), asked.options);
  await call(controller.shutdown.bind(controller), {}, LIMIT);
  await asked.server.ended;
  controller.close();
  const left = await served();
  const stdio = new plugin.GRPCStdioClient(left.target, left.dial(), left.options);
  const stream = stdio.streamStdio({});
  stream.on('error', () => undefined);
  await new Promise<void>((resolve) => stream.once('metadata', () => resolve()));
  stream.cancel();
  await left.server.ended;
  stdio.close();
});
