import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import { describe, test } from 'node:test';
import { type Bundle, formatProblems, type TrustDomain } from '@isthmus/model';
import { hasSameKeys, makeBundleDocument, MAX_BUNDLE_DOCUMENT_BYTES, parseBundleDocument } from './bundle-document.ts';
import { generateKey } from './key.ts';
import { testAuthority } from './testing.ts';

const TD = 'partner.example' as TrustDomain;
const a = testAuthority();
const b = testAuthority();
const leaf = a.issue('spiffe://east.acme.example/ns/shop/svc/payments');
const jwtKey = createPublicKey(generateKey()).export({ format: 'der', type: 'spki' }).toString('base64');

const x509 = (cert: Buffer, over: object = {}): object => ({ kty: 'EC', use: 'x509-svid', crv: 'P-256', x: 'AA', y: 'AA', x5c: [cert.toString('base64')], ...over });
const jwt = (over: object = {}): object => ({ ...createPublicKey(generateKey()).export({ format: 'jwk' }), use: 'jwt-svid', kid: 'k1', ...over });
const document = (keys: unknown, over: object = {}): Buffer => Buffer.from(JSON.stringify({ spiffe_sequence: 7, spiffe_refresh_hint: 60, keys, ...over }));
const read = (bytes: Buffer) => {
  const parsed = parseBundleDocument(bytes, TD);
  assert.ok(parsed.ok, parsed.ok ? '' : formatProblems(parsed.problems));
  return parsed.value;
};

describe('a bundle document', () => {
  const bundle: Bundle = {
    trustDomain: TD,
    sequence: 42,
    refreshHintSeconds: 120,
    x509Authorities: [a.root.cert, b.root.cert].map((der) => der.toString('base64')),
    jwtAuthorities: [{ keyId: 'k1', publicKey: jwtKey }],
  };

  test('comes back as the bundle it was written from, and is the same bytes each time', () => {
    assert.deepEqual(read(Buffer.from(makeBundleDocument(bundle))), { sequence: 42, bundle });
    assert.equal(makeBundleDocument(bundle), makeBundleDocument({ ...bundle }));
  });

  test('has the members the standard names, and no others', () => {
    const { keys, ...rest } = JSON.parse(makeBundleDocument(bundle)) as { keys: Record<string, unknown>[] };
    assert.deepEqual(rest, { spiffe_sequence: 42, spiffe_refresh_hint: 120 });
    assert.deepEqual(keys.map((k) => Object.keys(k).sort()), [
      ['crv', 'kty', 'use', 'x', 'x5c', 'y'],
      ['crv', 'kty', 'use', 'x', 'x5c', 'y'],
      ['crv', 'kid', 'kty', 'use', 'x', 'y'],
    ]);
  });

  test('belongs to the trust domain it was asked for, whatever it may say itself', () => {
    assert.equal(read(document([x509(a.root.cert)], { trust_domain: 'east.acme.example', trustDomain: 'east.acme.example' })).bundle.trustDomain, TD);
  });

  test('without a sequence says so; without a hint it is asked for every five minutes', () => {
    const { sequence, bundle: got } = read(Buffer.from(JSON.stringify({ keys: [x509(a.root.cert)] })));
    assert.equal(sequence, undefined);
    assert.equal(got.refreshHintSeconds, 300);
    assert.equal(read(document([], { spiffe_refresh_hint: 0 })).bundle.refreshHintSeconds, 300);
  });

  test('with no keys revokes everything', () => {
    assert.deepEqual(read(document([])).bundle.x509Authorities, []);
  });

  test('may hold keys of other types and uses, which are ignored', () => {
    const others = [{ kty: 'oct', use: 'x509-svid', k: 'AA' }, { kty: 'EC', use: 'wit-svid' }, { kty: 'EC' }, { use: 'x509-svid' }, {}];
    const got = read(document([...others, x509(a.root.cert)])).bundle;
    assert.deepEqual(got.x509Authorities, [a.root.cert.toString('base64')]);
    assert.equal(got.jwtAuthorities, undefined);
  });

  test('of an X.509 key the first certificate counts, and one without is ignored (X.509-SVID §6.2)', () => {
    const [first, second] = [a.root.cert.toString('base64'), b.root.cert.toString('base64')];
    const keys = [x509(a.root.cert, { x5c: [first, second] }), x509(a.root.cert, { x5c: undefined }), x509(a.root.cert, { x5c: [] })];
    assert.deepEqual(read(document(keys)).bundle.x509Authorities, [first]);
    assert.deepEqual(read(document([x509(a.root.cert, { x5c: [first, 'garbage'] })])).bundle.x509Authorities, [first]);
  });

  const garbage: readonly { readonly name: string; readonly bytes: Buffer; readonly why: RegExp }[] = [
    { name: 'nothing', bytes: Buffer.alloc(0), why: /not JSON/ },
    { name: 'a web page', bytes: Buffer.from('<html>sign in</html>'), why: /not JSON/ },
    { name: 'bytes that are no UTF-8', bytes: Buffer.from([0x22, 0xff, 0x22]), why: /not JSON/ },
    { name: 'null', bytes: Buffer.from('null'), why: /no JSON object/ },
    { name: 'an array', bytes: Buffer.from('[]'), why: /no JSON object/ },
    { name: 'an object without keys', bytes: Buffer.from('{}'), why: /keys/ },
    { name: 'keys that are no array', bytes: document({}), why: /keys: must be an array/ },
    { name: 'a key that is no object', bytes: document([null]), why: /keys\[0\]/ },
    { name: 'a negative sequence', bytes: document([], { spiffe_sequence: -1 }), why: /spiffe_sequence/ },
    { name: 'a sequence as text', bytes: document([], { spiffe_sequence: '7' }), why: /spiffe_sequence/ },
    { name: 'a sequence past 2^53', bytes: document([], { spiffe_sequence: 2 ** 60 }), why: /spiffe_sequence/ },
    { name: 'a hint of half a second', bytes: document([], { spiffe_refresh_hint: 0.5 }), why: /spiffe_refresh_hint/ },
    { name: 'a certificate that is no text', bytes: document([x509(a.root.cert, { x5c: [7] })]), why: /no text/ },
    { name: 'a certificate in PEM', bytes: document([x509(a.root.cert, { x5c: ['-----BEGIN CERTIFICATE-----'] })]), why: /not base64/ },
    { name: 'a certificate in base64url', bytes: document([x509(a.root.cert, { x5c: [a.root.cert.toString('base64url')] })]), why: /not base64/ },
    { name: 'a certificate cut short', bytes: document([x509(a.root.cert.subarray(0, 100))]), why: /no certificate/ },
    { name: 'bytes after a certificate', bytes: document([x509(Buffer.concat([a.root.cert, Buffer.alloc(3)]))]), why: /bytes after|no certificate/ },
    { name: 'a leaf as authority', bytes: document([x509(leaf.chain[0] ?? Buffer.alloc(0))]), why: /no CA/ },
    { name: 'the same certificate twice', bytes: document([x509(a.root.cert), x509(a.root.cert)]), why: /stands twice/ },
    { name: 'a JWT key without kid', bytes: document([jwt({ kid: undefined })]), why: /kid/ },
    { name: 'two JWT keys of one kid', bytes: document([jwt(), jwt()]), why: /stands twice/ },
    { name: 'a JWT key that is none', bytes: document([jwt({ x: 'AA' })]), why: /no public key/ },
    { name: 'a private JWT key', bytes: document([jwt({ d: 'AA' })]), why: /private key/ },
    { name: '33 certificates', bytes: document(Array.from({ length: 33 }, () => x509(testAuthority().root.cert))), why: /x509Authorities/ },
    { name: '257 keys', bytes: document(Array.from({ length: 257 }, () => ({}))), why: /more than 256/ },
    { name: 'more than a mebibyte', bytes: Buffer.alloc(MAX_BUNDLE_DOCUMENT_BYTES + 1, 0x20), why: /larger/ },
  ];
  for (const { name, bytes, why } of garbage) {
    test(`of ${name} is refused whole`, () => {
      const parsed = parseBundleDocument(bytes, TD);
      assert.ok(!parsed.ok);
      assert.match(formatProblems(parsed.problems), why);
    });
  }

  test('trusts the same keys in any order', () => {
    const turned = { ...bundle, sequence: 1, x509Authorities: [...bundle.x509Authorities].toReversed() };
    assert.ok(hasSameKeys(bundle, turned));
    assert.ok(!hasSameKeys(bundle, { ...bundle, x509Authorities: bundle.x509Authorities.slice(1) }));
    assert.ok(!hasSameKeys(bundle, { ...bundle, jwtAuthorities: [] }));
    assert.equal(createHash('sha256').update(makeBundleDocument(bundle)).digest().length, 32);
  });
});
