import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatProblems, type SpiffeId } from '@isthmus/model';
import { makeCsr, parseCsr } from './csr.ts';
import { type Asn1, bits, bool, extension, fromDer, name, oid, seq, set, signed, smallInt, spkiDer, tagged } from './der.ts';
import { OID } from './oid.ts';
import { exportKeyPem, generateKey, importKeyPem, type KeyKind } from './key.ts';

const ID = 'spiffe://east.acme.example/agent/a' as SpiffeId;

function refusalOf(der: Buffer): string {
  const parsed = parseCsr(der);
  return parsed.ok ? 'ok' : formatProblems(parsed.problems);
}

/** A request with any extensions, signed by any key. */
function request(key: KeyObject, extensions: readonly Asn1[], signer = key): Buffer {
  const attributes = tagged(0, [seq(oid(OID.extensionRequest), set(seq(...extensions)))]);
  return signed(seq(smallInt(0), name({}), fromDer(spkiDer(createPublicKey(key))), attributes), signer);
}

const sans = (...ids: readonly string[]): Asn1 => extension(OID.subjectAltName, false, seq(...ids.map((id) => tagged(6, Buffer.from(id)))));

for (const kind of ['ec-p256', 'ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  test(`a request of kind ${kind} gives back its key and name`, () => {
    const key = importKeyPem(exportKeyPem(generateKey(kind)));
    const parsed = parseCsr(makeCsr({ key, spiffeId: ID }));
    assert.ok(parsed.ok);
    assert.deepEqual(parsed.value.spiffeIds, [ID]);
    assert.ok(parsed.value.publicKey.equals(createPublicKey(key)));
  });
}

for (const [what, key, why] of [
  ['RSA of 1024 bits', generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey, /1024 bits is weaker/],
  ['EC secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey, /not P-256 or P-384/],
  ['EC P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey, /not P-256 or P-384/],
] as const) {
  test(`refuses a weak or unusual key: ${what}`, () => assert.match(refusalOf(makeCsr({ key, spiffeId: ID })), why));
}

test('refuses a request that another key signed', () => assert.match(refusalOf(request(generateKey(), [sans(ID)], generateKey())), /not signed by its own key/));

test('refuses a request to be a CA', () => {
  assert.match(refusalOf(request(generateKey(), [extension(OID.basicConstraints, true, seq(bool(true)))])), /certificate authority/);
});

test('tells every name asked for, and refuses too many', () => {
  const parsed = parseCsr(request(generateKey(), [sans(ID, 'spiffe://east.acme.example/admin')]));
  assert.deepEqual(parsed.ok && parsed.value.spiffeIds, [ID, 'spiffe://east.acme.example/admin']);
  assert.match(refusalOf(request(generateKey(), [sans(...Array.from({ length: 17 }, (_, i) => `${ID}${i}`))])), /more than 16 names/);
});

for (const [what, extensions, why] of [
  ['to sign certificates', [extension(OID.keyUsage, true, bits(Buffer.from([0x84]), 2))], /sign certificates or CRLs/],
  ['to sign CRLs', [extension(OID.keyUsage, true, bits(Buffer.from([0x82]), 1))], /sign certificates or CRLs/],
  ['to be a CA with a path length', [extension(OID.basicConstraints, true, seq(bool(true), smallInt(0)))], /certificate authority/],
  ['for names twice', [sans(ID), sans('spiffe://east.acme.example/admin')], /twice/],
  ['for a name with CR and LF', [sans(`${ID}\r\nx`)], /control characters/],
  ['for a name with NUL', [sans(`${ID}\0`)], /control characters/],
] as const) {
  test(`refuses a request ${what}`, () => assert.match(refusalOf(request(generateKey(), extensions)), why));
}

test('counts names that are neither URI nor DNS', () => {
  const parsed = parseCsr(request(generateKey(), [extension(OID.subjectAltName, false, seq(tagged(6, Buffer.from(ID)), tagged(7, Buffer.from([10, 0, 0, 1])), tagged(1, Buffer.from('a@b'))))]));
  assert.ok(parsed.ok);
  assert.deepEqual([parsed.value.spiffeIds, parsed.value.dnsNames, parsed.value.otherNames], [[ID], [], 2]);
});

for (const [what, key] of [
  ['an EC key that writes its curve out (CVE-2020-0601)', generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).privateKey],
  ['RSA with exponent 3', generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }).privateKey],
] as const) {
  test(`refuses an odd key: ${what}`, () => assert.notEqual(refusalOf(request(key, [sans(ID)])), 'ok'));
}

test('takes what openssl makes, with SHA-384 too', { skip: spawnSync('openssl', ['version']).status === 0 ? false : 'there is no openssl command here' }, (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-csr-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'key.pem');
  for (const kind of ['ec-p256', 'rsa-2048', 'ed25519'] satisfies KeyKind[]) {
    const key = generateKey(kind);
    writeFileSync(file, exportKeyPem(key), { mode: 0o600 });
    const made = spawnSync('openssl', ['req', '-new', '-sha384', '-key', file, '-subj', '/O=anything/CN=payments', '-addext', `subjectAltName=URI:${ID}`, '-outform', 'DER']);
    assert.equal(made.status, 0, made.stderr.toString());
    const parsed = parseCsr(made.stdout);
    assert.ok(parsed.ok && parsed.value.publicKey.equals(createPublicKey(key)), `${kind}: ${refusalOf(made.stdout)}`);
    assert.deepEqual(parsed.value.spiffeIds, [ID]);
  }
});

test('a mebibyte of DER is refused by its length, unread', () => {
  const big = Buffer.concat([Buffer.from([0x30, 0x83, 0x10, 0, 0]), Buffer.alloc(2 ** 20)]);
  assert.match(refusalOf(big), /larger than 16384 bytes/);
});

test('refuses garbage and more than 16 KiB', () => {
  assert.match(refusalOf(Buffer.from('garbage')), /no PKCS#10/);
  assert.match(refusalOf(Buffer.alloc(16_385)), /larger than/);
});

test('no change of its bytes is an exception', () => {
  const der = makeCsr({ key: generateKey(), spiffeId: ID });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), fc.nat(der.length), (changes, end) => {
      const changed = Buffer.from(der);
      for (const [at, value] of changes) changed[at] = value;
      return typeof parseCsr(changed).ok === 'boolean' && !parseCsr(changed.subarray(0, Math.min(end, der.length - 1))).ok;
    }),
    { numRuns: 500 },
  );
});

test('refuses a request nested thousands deep without running out of stack', () => {
  let nested = Buffer.alloc(0);
  for (let depth = 0; depth < 3_000; depth++) nested = Buffer.concat([Buffer.from([0x30, 0x82, nested.length >> 8, nested.length & 0xff]), nested]);
  assert.ok(nested.length < 16_384);
  assert.match(refusalOf(nested), /no PKCS#10/);
});

test('refuses a request in BER: one value has one encoding', () => {
  const der = makeCsr({ key: generateKey('ed25519'), spiffeId: ID });
  assert.equal(der[1], 0x81);
  // The same length in one byte more.
  const ber = Buffer.concat([Buffer.from([0x30, 0x82, 0]), der.subarray(2)]);
  assert.match(refusalOf(ber), /no PKCS#10 request in DER/);
});
