import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import type { SpiffeId, TrustDomain } from '@isthmus/model';
import { type Issuer, signRoot, signSvid } from './certificate.ts';
import { toPem } from './pem.ts';
import { readCertificate } from './certificate-fields.ts';
import { OID } from './oid.ts';
import { generateKey, type KeyKind } from './key.ts';
import { testAuthority } from './testing.ts';
import { svidToPem, type X509Svid } from './x509-svid.ts';

const NOW_MS = Date.now();
const HOUR_MS = 3_600_000;
const PAYMENTS = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });
const needsOpenssl = { skip: spawnSync('openssl', ['version']).status === 0 ? false : 'there is no openssl command here' };

for (const kind of ['ec-p256', 'ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  test(`openssl -x509_strict takes a chain under a root of kind ${kind}, to a leaf of that kind`, needsOpenssl, () => {
    const authority = testAuthority({ root: rootOf(kind) });
    assert.equal(openssl(authority.issue(PAYMENTS, { key: generateKey(kind) }), authority.root), 'OK');
  });

  test(`node’s TLS takes a chain under a root of kind ${kind}, to a leaf of that kind`, async () => {
    const authority = testAuthority({ root: rootOf(kind) });
    assert.equal(await handshake(authority.issue(PAYMENTS, { key: generateKey(kind) }), authority.root), 'authorized');
  });
}

test('openssl refuses an east name under west’s authority', needsOpenssl, () => assert.match(openssl(west.issue(PAYMENTS), east.root), /permitted subtree violation/));

test('node’s TLS refuses an east name under west’s authority', async () => assert.match(await handshake(west.issue(PAYMENTS), east.root), /permitted subtree violation/));

test('an SVID lives no longer than its issuer, and an issuer that ran out signs nothing', () => {
  const svid = east.issue(PAYMENTS, { ttlMs: 1_000 * HOUR_MS });
  assert.equal(svid.expiresAtMs, Date.parse(new X509Certificate(east.intermediate.cert).validTo));
  assert.throws(() => east.issue(PAYMENTS, { nowMs: NOW_MS + 25 * HOUR_MS }), { code: 'PKI_ISSUER_EXPIRED' });
});

test('an SVID begins a little before now, for clocks that are behind, but not before its issuer', () => {
  const issuerFromMs = Date.parse(new X509Certificate(east.intermediate.cert).validFrom);
  const later = east.issue(PAYMENTS, { nowMs: NOW_MS + HOUR_MS });
  assert.equal(later.notBeforeMs, Math.floor((NOW_MS + HOUR_MS - 60_000) / 1_000) * 1_000);
  assert.equal(east.issue(PAYMENTS, { nowMs: NOW_MS - 30_000 }).notBeforeMs, issuerFromMs);
});

test('IP addresses go in as they are, and what is no address is refused', () => {
  const withIp = (ip: string): string => new X509Certificate(signSvid({ issuer: east.intermediate, publicKey: createPublicKey(generateKey()), spiffeId: PAYMENTS, ipAddresses: [ip], nowMs: NOW_MS, ttlMs: HOUR_MS })).subjectAltName ?? '';
  assert.match(withIp('10.1.2.3'), /IP Address:10\.1\.2\.3/);
  assert.match(withIp('::1'), /IP Address:0:0:0:0:0:0:0:1/);
  for (const bad of ['10.1.2.x', '10.1.2.300', '1.2.3', 'fd00::1', '']) assert.throws(() => withIp(bad), { code: 'PKI_CERTIFICATE_INVALID' }, bad);
});

test('no two certificates have the same serial number', () => {
  const serials = Array.from({ length: 50 }, () => new X509Certificate(east.issue(PAYMENTS, { key: svidKey }).chain[0] ?? Buffer.alloc(0)).serialNumber);
  assert.equal(new Set(serials).size, 50);
});

const made = (der: Buffer) => {
  const { subject, isSubjectEmpty, basicConstraints, keyUsage, extKeyUsages, altNames, nameConstraints, subjectKeyId, authorityKeyId, serial } = readCertificate(der);
  const uris = altNames?.names.filter((name) => name.form === 'uri').map((name) => name.text);
  const permitted = nameConstraints?.permitted.map((name) => `${name.form} ${name.text}`);
  return { subject, isSubjectEmpty, basicConstraints, keyUsage, extKeyUsages, uris, areNamesCritical: altNames?.isCritical, permitted, excluded: nameConstraints?.excluded.length, subjectKeyId, authorityKeyId, serial };
};

test('X509-SVID §2–4: a leaf we make has one URI SAN, critical where there is no subject, digitalSignature alone and critical, both extended key usages, and is no CA', () => {
  const leaf = made(east.issue(PAYMENTS, { dnsNames: ['payments.shop'] }).chain[0] ?? Buffer.alloc(0));
  assert.deepEqual([leaf.uris, leaf.basicConstraints, leaf.keyUsage, leaf.permitted], [[PAYMENTS], { isCa: false, pathLength: undefined }, { bits: 0x80, isCritical: true }, undefined]);
  assert.deepEqual(leaf.extKeyUsages, [OID.serverAuth, OID.clientAuth]);
  assert.equal(leaf.areNamesCritical, leaf.isSubjectEmpty);
  const named = made(signSvid({ issuer: east.intermediate, publicKey: createPublicKey(svidKey), spiffeId: PAYMENTS, commonName: 'payments', nowMs: NOW_MS, ttlMs: HOUR_MS }));
  assert.deepEqual([named.isSubjectEmpty, named.areNamesCritical], [false, false]);
});

test('X509-SVID §3.2, §4: an intermediate and a root we make are CAs with a SPIFFE ID without path, may sign certificates and CRLs, and the intermediate is confined to its trust domain', () => {
  const intermediate = made(east.intermediate.cert);
  assert.deepEqual([intermediate.uris, intermediate.basicConstraints, intermediate.keyUsage], [['spiffe://east.acme.example'], { isCa: true, pathLength: 0 }, { bits: 0x06, isCritical: true }]);
  assert.deepEqual([intermediate.permitted, intermediate.excluded], [['uri east.acme.example'], 0]);
  const root = made(east.root.cert);
  assert.deepEqual([root.uris, root.basicConstraints, root.keyUsage, root.permitted], [['spiffe://acme.example'], { isCa: true, pathLength: undefined }, { bits: 0x06, isCritical: true }, undefined]);
});

test('RFC 5280 §4.1.2.2, §4.2.1.1–2: serial numbers are positive and of 20 octets at most, key identifiers lead upwards', () => {
  const [leaf, intermediate, root] = [made(east.issue(PAYMENTS).chain[0] ?? Buffer.alloc(0)), made(east.intermediate.cert), made(east.root.cert)];
  for (const { serial } of [leaf, intermediate, root]) assert.ok(serial.byteLength <= 20 && (serial[0] ?? 0x80) < 0x80);
  assert.deepEqual([leaf.authorityKeyId?.keyId, intermediate.authorityKeyId?.keyId], [intermediate.subjectKeyId, root.subjectKeyId]);
});

const svidKey = generateKey();

function rootOf(kind: KeyKind): Issuer {
  const key = generateKey(kind);
  return { key, cert: signRoot({ key, federation: 'acme.example' as TrustDomain, nowMs: NOW_MS, ttlMs: 100 * HOUR_MS }) };
}

/** What `openssl verify` says of a chain under a root: `OK` or its complaint. */
function openssl(svid: X509Svid, root: Issuer): string {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-pki-'));
  try {
    const file = (fileName: string, der: Buffer | undefined): string => {
      const path = join(directory, fileName);
      writeFileSync(path, toPem(der ?? Buffer.alloc(0)));
      return path;
    };
    const args = ['verify', '-x509_strict', '-CAfile', file('root.pem', root.cert), '-untrusted', file('ca.pem', svid.chain[1]), file('leaf.pem', svid.chain[0])];
    const { status, stdout, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
    return status === 0 ? (stdout.trim().split(' ').at(-1) ?? '') : stderr;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** How a node TLS client that trusts the root takes a server with that SVID. */
async function handshake(svid: X509Svid, root: Issuer): Promise<string> {
  const { certPem, keyPem } = svidToPem(svid);
  const server = createServer({ cert: certPem, key: keyPem });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await new Promise((resolve) => {
      const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ca: toPem(root.cert), checkServerIdentity: () => undefined, servername: 'x.example' }, () => {
        resolve('authorized');
        socket.destroy();
      });
      socket.once('error', (error) => resolve(error.message));
    });
  } finally {
    server.close();
  }
}
