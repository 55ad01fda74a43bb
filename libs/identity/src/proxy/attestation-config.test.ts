// What an agent may be told to attest with, and what is refused at its start (row 45: a key others may read).
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { exportKeyPem, sha256Hex, toPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { testDir } from '../testing.ts';
import { openProxyAttestation } from './attestation-config.ts';

const BASE = { cluster: 'east', federation: 'acme.example', rootSha256: ['a'.repeat(64)] };
const authority = testAuthority();
const svid = authority.issue('spiffe://east.acme.example/agent/vm-1');
let dir: Awaited<ReturnType<typeof testDir>>;
const at = (name: string): string => join(dir.path, name);

before(async () => {
  dir = await testDir('attestation-config');
  await writeFile(at('cert.pem'), svid.chain.map(toPem).join(''));
  await writeFile(at('key.pem'), exportKeyPem(svid.key), { mode: 0o600 });
  await writeFile(at('root.pem'), toPem(authority.root.cert));
});
after(() => dir.remove());

const x509 = () => ({ certificateFile: at('cert.pem'), keyFile: at('key.pem') });

test('one method, a cluster and a root are needed, and what is wrong is said', async () => {
  const rows: readonly (readonly [object, RegExp])[] = [
    [{}, /exactly one.*has 0/],
    [{ jwtFile: '/x', awsInstance: { url: 'http://127.0.0.1' } }, /exactly one.*has 2/],
    [{ jwtFile: '/x', cluster: 'Not A Name' }, /cluster/],
    [{ jwtFile: '/x', federation: 'Not A Domain' }, /federation/],
    [{ jwtFile: '/x', rootSha256: [] }, /rootSha256 or rootFile/],
  ];
  for (const [over, reason] of rows) await assert.rejects(openProxyAttestation({ ...BASE, ...over }), { code: 'IDENTITY_ATTESTATION_CONFIG', message: reason });
});

test('row 45: a proof key that others may read is refused at the start with the reason, before anything is sent', async () => {
  await chmod(at('key.pem'), 0o644);
  await assert.rejects(openProxyAttestation({ ...BASE, x509: x509() }), { code: 'STATE_EXPOSED', message: /mode 0644/ });
  await chmod(at('key.pem'), 0o600);
  const { source } = await openProxyAttestation({ ...BASE, x509: x509() });
  assert.ok(source.method === 'x509');
  assert.deepEqual((await source.read()).chain, svid.chain);
});

test('roots are pinned by fingerprint or by file', async () => {
  const opened = await openProxyAttestation({ ...BASE, rootFile: at('root.pem'), jwtFile: '/x' });
  assert.deepEqual(opened.rootSha256, ['a'.repeat(64), sha256Hex(authority.root.cert)]);
});

test('a token file is read anew each time, trimmed, and held to its size', async () => {
  await writeFile(at('token'), ' one\n');
  const { source } = await openProxyAttestation({ ...BASE, jwtFile: at('token') });
  assert.ok(source.method === 'jwt');
  assert.equal(await source.read(), 'one');
  await writeFile(at('token'), 'two');
  assert.equal(await source.read(), 'two');
  for (const bad of ['', 'x'.repeat(17 * 1024)]) {
    await writeFile(at('token'), bad);
    await assert.rejects(source.read());
  }
});

test('the instance document is fetched with a session token, as PKCS#7 without its armour', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers['x-aws-ec2-metadata-token'] ?? ''}`);
    response.end(request.method === 'PUT' ? 'session' : `-----BEGIN PKCS7-----\n${Buffer.from('document').toString('base64')}\n-----END PKCS7-----`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { source } = await openProxyAttestation({ ...BASE, awsInstance: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } });
  assert.ok(source.method === 'aws-instance');
  assert.equal((await source.read()).toString(), 'document');
  assert.deepEqual(asked, ['PUT /latest/api/token ', 'GET /latest/dynamic/instance-identity/rsa2048 session']);
  server.close();
  server.closeAllConnections();
});
