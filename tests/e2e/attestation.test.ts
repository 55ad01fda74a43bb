// Attestation with real processes: an agent that was never given a token joins by what its platform vouches for.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { clusterOf, isthmus, names, smallTopology, startFederation, type TestFederation } from '@isthmus/harness';
import { signTestToken } from '@isthmus/pki/testing';

const AUDIENCE = 'isthmus://east';
const directory = mkdtempSync(join(tmpdir(), 'isthmus-attestation-'));
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const tokenFile = join(directory, 'token');
let issuer: Server;
let issuerUrl = '';
let rootSha256 = '';
let mesh: TestFederation;

before(async () => {
  issuer = createServer((_request, response) => response.end(JSON.stringify({ keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: 'k' }] })));
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  issuerUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
  const topology = smallTopology(['east-1']);
  const jwt = [{ name: 'k8s', issuer: issuerUrl, audience: AUDIENCE, jwksUrl: `${issuerUrl}/openid/v1/jwks`, rules: [{ match: { '/kubernetes.io/namespace': 'shop' }, agent: '{/kubernetes.io/pod/name}', services: ['shop/payments'] }] }];
  mesh = await startFederation({
    topology,
    start: false,
    settings: (name) => {
      if (name === names.controlPlane('east')) return { attestation: { jwt } };
      return name === 'east-1' ? { attestation: { cluster: 'east', federation: topology.federation, rootSha256: [rootSha256], jwtFile: tokenFile } } : {};
    },
  });
  await mesh.federation.startTrustRoot();
  await mesh.federation.startControlPlane(clusterOf(topology, 'east'));
  await mesh.federation.startGateway(clusterOf(topology, 'east'));
  const status = await mesh.federation.admin('east').status();
  rootSha256 = String((status['identity'] as Record<string, unknown>)['rootSha256']);
}, { timeout: 120_000 });
after(async () => {
  await mesh.close();
  issuer.close();
  issuer.closeAllConnections();
  rmSync(directory, { recursive: true, force: true });
});

function writeToken(over: object = {}): string {
  const nowS = Math.floor(Date.now() / 1_000);
  const token = signTestToken({ iss: issuerUrl, aud: AUDIENCE, sub: 'system:serviceaccount:shop:payments', iat: nowS, exp: nowS + 600, 'kubernetes.io': { namespace: 'shop', pod: { name: 'east-1' } }, ...over }, { key: key.privateKey, kid: 'k' });
  writeFileSync(tokenFile, token);
  return token;
}
const auditOf = (outcome: string): string[] => mesh.log(names.controlPlane('east')).split('\n').filter((line) => line.includes('"audit"') && line.includes(`"${outcome}"`));

test('an agent joins by its service-account token, is killed, loses its disk, and joins again by itself', { timeout: 240_000 }, async () => {
  const east = clusterOf(mesh.topology, 'east');
  const [plan] = east.agents;
  assert.ok(plan);
  const first = writeToken();
  const agent = await mesh.federation.startAgent(east, plan);
  const entries = async () => (await mesh.federation.admin('east').list('entry')).filter((entry) => entry['agent'] === 'east-1');
  assert.deepEqual((await entries()).map((entry) => [entry['method'], entry['subject']]), [['jwt', 'k8s system:serviceaccount:shop:payments']]);
  assert.equal(auditOf('admitted').filter((line) => line.includes('east-1')).length, 1);

  const listed = await isthmus(['agent', 'list', '--state', mesh.paths.root]);
  assert.match(listed.stdout, /east-1 +agent +jwt +k8s system:serviceaccount:shop:payments +shop\/payments .*admitted/, listed.stderr);

  await agent.kill();
  writeToken({ jti: 'second' });
  rmSync(mesh.paths.state('east-1'), { recursive: true, force: true });
  const again = await mesh.federation.startAgent(east, plan);
  assert.equal(auditOf('admitted').filter((line) => line.includes('east-1')).length, 2, 'it attested again');
  assert.equal(again.isRunning(), true);
  await again.stop();

  const cli = (verb: string) => isthmus(['agent', verb, 'east-1', '--state', mesh.paths.root]);
  assert.equal((await cli('readmit')).code, 66, 'nothing keeps it out');
  assert.equal((await cli('remove')).code, 0);
  assert.match((await isthmus(['agent', 'list', '--state', mesh.paths.root])).stdout, /east-1 .*removed/);
  assert.equal((await cli('readmit')).code, 0);
  assert.equal(mesh.log(names.controlPlane('east')).includes(first.slice(-30)), false, 'no token is in the log');
});
