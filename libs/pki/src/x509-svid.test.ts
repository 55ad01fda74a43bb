import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { generateKey } from './key.ts';
import { testAuthority } from './testing.ts';
import { fixedSvidSource, makeX509Svid, parseCertificate, svidToPem, trustDomainOfCert } from './x509-svid.ts';

const PAYMENTS = 'spiffe://east.acme.example/ns/shop/svc/payments';
const east = testAuthority();
const svid = east.issue(PAYMENTS, { dnsNames: ['payments.shop'] });

test('an SVID knows its name and its time from its certificate, DNS names beside it', () => {
  const leaf = new X509Certificate(svid.chain[0] ?? Buffer.alloc(0));
  assert.equal(svid.spiffeId, PAYMENTS);
  assert.deepEqual([svid.notBeforeMs, svid.expiresAtMs], [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)]);
  assert.match(leaf.subjectAltName ?? '', /DNS:payments\.shop/);
});

test('a chain and a key that do not belong together are refused', () => {
  assert.throws(() => makeX509Svid(svid.chain, generateKey()), { code: 'PKI_CERTIFICATE_INVALID', message: /not for this key/ });
});

test('an empty chain and bytes that are no certificate are refused', () => {
  assert.throws(() => makeX509Svid([], svid.key), { code: 'PKI_CERTIFICATE_INVALID' });
  assert.throws(() => parseCertificate(Buffer.from('garbage')), { code: 'PKI_CERTIFICATE_INVALID' });
  assert.equal(trustDomainOfCert(Buffer.from('garbage')).ok, false);
});

test('a DNS name that looks like a URI name lends no SPIFFE ID', () => {
  const sly = east.issue(PAYMENTS, { dnsNames: ['x, URI:spiffe://east.acme.example/admin, y'] });
  assert.equal(sly.spiffeId, PAYMENTS);
});

test('PEM holds the whole chain, leaf first, and the key', () => {
  const { certPem, keyPem } = svidToPem(svid);
  const certificates = certPem.match(/-----BEGIN[^]+?END CERTIFICATE-----/g) ?? [];
  assert.deepEqual(certificates.map((pem) => new X509Certificate(pem).raw), [...svid.chain]);
  assert.ok(createPrivateKey(keyPem).equals(svid.key));
});

test('the name of a certificate larger than 16 KiB is not looked for', () => {
  const large = east.issue(PAYMENTS, { dnsNames: Array.from({ length: 2_000 }, (_, i) => `h${i}.example`) }).chain[0] ?? Buffer.alloc(0);
  assert.ok(large.byteLength > 16_384);
  assert.equal(trustDomainOfCert(large).ok, false);
});

test('a fixed source gives the one SVID', () => assert.equal(fixedSvidSource(svid).current(), svid));
