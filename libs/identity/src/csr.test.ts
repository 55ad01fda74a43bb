import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { generateKey, type KeyKind, makeCsr, signSvid, verifySvid } from '@isthmus/pki';
import { derExtension, derInt, derName, derOid, derSeq, dnsName, ext, signatureAlgorithmOf, testAuthority, tlv, uriName } from '@isthmus/pki/testing';
import { publicKeyOf } from './csr.ts';

const ID = 'spiffe://east.acme.example/agent/vm-1' as SpiffeId;
const refusal = (pattern: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, 'IDENTITY_CSR_REFUSED', error.message);
  assert.match(error.message, pattern);
  return true;
};

for (const kind of ['ec-p256', 'ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  test(`the key of a ${kind} request is taken, and nothing else of it`, () => {
    const key = generateKey(kind);
    assert.ok(publicKeyOf(makeCsr({ key, spiffeId: ID }), ID).equals(createPublicKey(key)));
  });
}

test('a weak key, an oversized one, another name, a forged signature and garbage are each refused', () => {
  const key = generateKey();
  const good = makeCsr({ key, spiffeId: ID });
  const forged = Buffer.from(good);
  forged[forged.length - 3] = (forged.at(-3) ?? 0) ^ 1;
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey;
  const rows: readonly { readonly name: string; readonly csr: Buffer; readonly why: RegExp }[] = [
    { name: 'RSA 1024', csr: makeCsr({ key: rsa(1_024), spiffeId: ID }), why: /weaker/ },
    { name: 'EC P-224', csr: makeCsr({ key: generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).privateKey, spiffeId: ID }), why: /secp224r1/ },
    { name: 'other agent', csr: makeCsr({ key, spiffeId: 'spiffe://east.acme.example/agent/vm-2' as SpiffeId }), why: /another name/ },
    { name: 'CRLF in the name', csr: makeCsr({ key, spiffeId: `${ID}\r\nx` as SpiffeId }), why: /control characters/ },
    { name: 'forged', csr: forged, why: /own key|PKCS#10/ },
    { name: 'garbage', csr: Buffer.from('garbage'), why: /PKCS#10/ },
    { name: 'empty', csr: Buffer.alloc(0), why: /PKCS#10/ },
    { name: 'too large', csr: Buffer.alloc(17_000), why: /larger/ },
    { name: 'a mebibyte', csr: Buffer.concat([Buffer.from([0x30, 0x83, 0x10, 0, 0]), Buffer.alloc(2 ** 20)]), why: /larger/ },
  ];
  for (const row of rows) assert.throws(() => publicKeyOf(row.csr, ID), refusal(row.why), row.name);
});

/** A request that asks for whatever is given beside its name, signed by its key. */
function asking(key: KeyObject, names: readonly Buffer[], more: readonly Buffer[] = []): Buffer {
  const extensions = derSeq(ext.altNames(names), ...more);
  const attributes = tlv(0xa0, derSeq(derOid('1.2.840.113549.1.9.14'), tlv(0x31, extensions)));
  const info = derSeq(derInt(0), derName('CN=root, O=bank'), createPublicKey(key).export({ type: 'spki', format: 'der' }), attributes);
  return derSeq(info, signatureAlgorithmOf(key), tlv(0x03, Buffer.from([0]), sign('sha256', info, key)));
}

for (const [what, names, more] of [
  ['the ID of another beside its own', [uriName(ID), uriName('spiffe://east.acme.example/control-plane')], []],
  ['a trust domain’s name', [uriName('spiffe://east.acme.example')], []],
  ['the same path in another trust domain', [uriName('spiffe://west.acme.example/agent/vm-1')], []],
  ['an ID that begins like its own', [uriName(`${ID}0`)], []],
  ['a DNS name', [uriName(ID), dnsName('payments.shop')], []],
  ['an address', [uriName(ID), tlv(0x87, Buffer.from([10, 0, 0, 1]))], []],
  ['to be a CA', [uriName(ID)], [ext.basicConstraints(true)]],
  ['to sign certificates', [uriName(ID)], [ext.keyUsage(0x84)]],
] as const) {
  test(`a request that asks for ${what} is refused`, () => assert.throws(() => publicKeyOf(asking(generateKey(), names, more), ID), refusal(/./)));
}

test('a certificate holds what the server chose, whatever else the request asked for', () => {
  const authority = testAuthority();
  const key = generateKey();
  const wishes = [ext.keyUsage(0xa8), ext.extKeyUsage(['1.3.6.1.5.5.7.3.3'], true), derExtension('1.2.3.4', true, derOid('1.2.3')), ext.nameConstraints({ permitted: [uriName('.example')] })];
  const publicKey = publicKeyOf(asking(key, [uriName(ID)], wishes), ID);
  const der = signSvid({ issuer: authority.intermediate, publicKey, spiffeId: ID, nowMs: Date.now(), ttlMs: 3_600_000 });
  const usual = signSvid({ issuer: authority.intermediate, publicKey: createPublicKey(generateKey()), spiffeId: ID, nowMs: Date.now(), ttlMs: 3_600_000 });
  const [asked, plain] = [new X509Certificate(der), new X509Certificate(usual)];
  assert.deepEqual([asked.subject, asked.subjectAltName, asked.keyUsage, asked.ca, asked.publicKey.equals(createPublicKey(key))], [plain.subject, `URI:${ID}`, plain.keyUsage, false, true]);
  assert.equal(der.includes(Buffer.from('bank')), false);
  assert.equal(der.includes(derOid('1.2.3.4')), false);
  assert.ok(verifySvid({ chain: [der, authority.intermediate.cert], bundle: authority.bundle, nowMs: Date.now() }).ok);
});
