import assert from 'node:assert/strict';
import { constants, createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import type { Bundle, SpiffeId } from '@isthmus/model';
import { openBundleSet } from './bundle-set.ts';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { jwtAuthorityOf, type JwtRefusal, signJwtSvid, verifyJwtSvid } from './jwt-svid.ts';
import { JWT_ALGORITHMS, type JwtAlgorithm } from './jwt-token.ts';
import { generateKey } from './key.ts';

const NOW_MS = 1_800_000_000_000;
const NOW = NOW_MS / 1_000;
const PAYMENTS = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
const AUDIENCE = 'spiffe://west.acme.example/ns/shop/svc/web';

const key = generateKey();
const rsa = generateKey('rsa-2048');
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey;
const weakRsa = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey;
const westKey = generateKey();
const bundleOf = (trustDomain: string, authorities: NonNullable<Bundle['jwtAuthorities']>): Bundle => ({ trustDomain, sequence: 1, refreshHintSeconds: 300, x509Authorities: [], jwtAuthorities: authorities });
const bundles = openBundleSet([
  bundleOf('east.acme.example', [
    { keyId: 'garbled', publicKey: 'AAAA' },
    jwtAuthorityOf(generateKey(), 'old'),
    jwtAuthorityOf(key, 'ec'),
    jwtAuthorityOf(rsa, 'rsa'),
    jwtAuthorityOf(p384, 'p384'),
    jwtAuthorityOf(p521, 'p521'),
    jwtAuthorityOf(weakRsa, 'weak'),
    jwtAuthorityOf(generateKey('ed25519'), 'ed'),
  ]),
  bundleOf('west.acme.example', [jwtAuthorityOf(westKey, 'ec-west')]),
]);

const HEADER = { alg: 'ES256', kid: 'ec', typ: 'JWT' };
const CLAIMS = { sub: PAYMENTS, aud: AUDIENCE, exp: NOW + 300, iat: NOW };
const part = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const HASHES: Readonly<Record<string, string>> = { '256': 'sha256', '384': 'sha384', '512': 'sha512' };

/** A token with any header and claims, signed by node:crypto as RFC 7518 §3 says, not by the library under test. */
function tokenOf(header: unknown, claims: unknown, by: KeyObject = key, algorithm = 'ES256'): string {
  const input = `${part(header)}.${part(claims)}`;
  const hash = HASHES[algorithm.slice(2)] ?? 'sha256';
  const options = algorithm.startsWith('ES')
    ? { key: by, dsaEncoding: 'ieee-p1363' as const }
    : algorithm.startsWith('PS')
      ? { key: by, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : { key: by };
  return `${input}.${sign(hash, Buffer.from(input), options).toString('base64url')}`;
}

async function reasonOf(token: string, over: { readonly audience?: string; readonly nowMs?: number; readonly skewMs?: number } = {}): Promise<string> {
  const verdict = await verifyJwtSvid({ token, audience: AUDIENCE, bundles, nowMs: NOW_MS, ...over });
  return verdict.ok ? 'ok' : verdict.reason;
}

const keyFor = (algorithm: JwtAlgorithm): [KeyObject, string] => (algorithm === 'ES256' ? [key, 'ec'] : algorithm === 'ES384' ? [p384, 'p384'] : algorithm === 'ES512' ? [p521, 'p521'] : [rsa, 'rsa']);

for (const algorithm of JWT_ALGORITHMS) {
  test(`JWT-SVID §2.1: ${algorithm} is signed and taken, ours and anybody’s`, async () => {
    const [signer, keyId] = keyFor(algorithm);
    const ours = await signJwtSvid({ key: signer, keyId, spiffeId: PAYMENTS, audience: [AUDIENCE], nowMs: NOW_MS, ttlMs: 300_000, algorithm });
    assert.equal(await reasonOf(ours), 'ok');
    assert.equal(await reasonOf(tokenOf({ alg: algorithm, kid: keyId }, CLAIMS, signer, algorithm)), 'ok');
  });
}

test('what is signed says whom it is for, from when, until when, and by which key; ES256 unless told otherwise', async () => {
  const token = await signJwtSvid({ key, keyId: 'ec', spiffeId: PAYMENTS, audience: [AUDIENCE, 'b'], nowMs: NOW_MS + 400, ttlMs: 300_900 });
  assert.deepEqual(JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()), HEADER);
  const verdict = await verifyJwtSvid({ token, audience: 'b', bundles, nowMs: NOW_MS });
  assert.ok(verdict.ok);
  assert.deepEqual({ ...verdict.svid }, {
    algorithm: 'ES256', keyId: 'ec', spiffeId: PAYMENTS, audience: [AUDIENCE, 'b'], expiresAtMs: NOW_MS + 300_000, notBeforeMs: undefined, issuedAtMs: NOW_MS,
    claims: { sub: PAYMENTS, aud: [AUDIENCE, 'b'], exp: NOW + 300, iat: NOW },
  });
});

const unsigned = (header: unknown): string => `${part(header)}.${part(CLAIMS)}.AAAA`;
const hmac = (alg: string, secret: Buffer): string => {
  const input = `${part({ ...HEADER, alg })}.${part(CLAIMS)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
};
const good = tokenOf(HEADER, CLAIMS);
const [goodHeader = '', goodClaims = '', goodSignature = ''] = good.split('.');
const without = (name: string): unknown => Object.fromEntries(Object.entries(CLAIMS).filter(([claim]) => claim !== name));

type Row = { readonly rule: string; readonly token: string; readonly want: JwtRefusal | 'ok' };
const rows: readonly Row[] = [
  { rule: 'JWT-SVID §2: no header but alg, kid, typ: crit', token: tokenOf({ ...HEADER, crit: ['b64'], b64: true }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2: no header but alg, kid, typ: an embedded key', token: tokenOf({ ...HEADER, jwk: createPublicKey(key).export({ format: 'jwk' }) }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2: no header but alg, kid, typ: a key to be fetched', token: tokenOf({ ...HEADER, jku: 'https://evil.example/keys' }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2: no header but alg, kid, typ: a certificate chain', token: tokenOf({ ...HEADER, x5c: [] }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: alg none', token: `${part({ ...HEADER, alg: 'none' })}.${goodClaims}.`, want: 'malformed' },
  { rule: 'JWT-SVID §2.1: alg none with a signature', token: unsigned({ ...HEADER, alg: 'none' }), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: alg None', token: unsigned({ ...HEADER, alg: 'None' }), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: alg missing', token: tokenOf({ kid: 'ec' }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: HS256 with the public key as its secret', token: hmac('HS256', createPublicKey(key).export({ type: 'spki', format: 'der' })), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: EdDSA is not in the list', token: unsigned({ ...HEADER, alg: 'EdDSA', kid: 'ed' }), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: ES256K is not in the list', token: unsigned({ ...HEADER, alg: 'ES256K' }), want: 'malformed' },
  { rule: 'JWT-SVID §2.1: the algorithm is of another kind than the key', token: tokenOf({ alg: 'RS256', kid: 'ec' }, CLAIMS, rsa, 'RS256'), want: 'unknown-key' },
  { rule: 'JWT-SVID §2.1: ES256 is P-256 and no other curve', token: unsigned({ alg: 'ES256', kid: 'p384' }), want: 'unknown-key' },
  { rule: 'RFC 7518 §3.3: an RSA key of 1024 bits', token: tokenOf({ alg: 'RS256', kid: 'weak' }, CLAIMS, weakRsa, 'RS256'), want: 'unknown-key' },
  { rule: 'JWT-SVID §2.2: kid is optional', token: tokenOf({ alg: 'ES256' }, CLAIMS), want: 'ok' },
  { rule: 'JWT-SVID §2.2: a kid that nobody has', token: tokenOf({ ...HEADER, kid: 'nobody' }, CLAIMS), want: 'unknown-key' },
  { rule: 'JWT-SVID §2.2: the kid of another key', token: tokenOf({ ...HEADER, kid: 'old' }, CLAIMS), want: 'bad-signature' },
  { rule: 'JWT-SVID §2.2: a kid that is no text', token: tokenOf({ ...HEADER, kid: 7 }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2.3: typ is optional', token: tokenOf({ alg: 'ES256', kid: 'ec' }, CLAIMS), want: 'ok' },
  { rule: 'JWT-SVID §2.3: typ JOSE', token: tokenOf({ ...HEADER, typ: 'JOSE' }, CLAIMS), want: 'ok' },
  { rule: 'JWT-SVID §2.3: typ at+jwt', token: tokenOf({ ...HEADER, typ: 'at+jwt' }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §2.3: typ jwt in small letters', token: tokenOf({ ...HEADER, typ: 'jwt' }, CLAIMS), want: 'malformed' },
  { rule: 'JWT-SVID §3: further claims are allowed', token: tokenOf(HEADER, { ...CLAIMS, jti: 'x', 'acme.example/role': [1] }), want: 'ok' },
  { rule: 'JWT-SVID §3.1: sub is missing', token: tokenOf(HEADER, without('sub')), want: 'malformed' },
  { rule: 'JWT-SVID §3.1: sub is no SPIFFE ID', token: tokenOf(HEADER, { ...CLAIMS, sub: 'payments' }), want: 'malformed' },
  { rule: 'JWT-SVID §3.1: sub is a SPIFFE ID with upper-case trust domain', token: tokenOf(HEADER, { ...CLAIMS, sub: 'spiffe://East.acme.example/x' }), want: 'malformed' },
  { rule: 'JWT-SVID §3.1: sub names a trust domain, not a workload', token: tokenOf(HEADER, { ...CLAIMS, sub: 'spiffe://east.acme.example' }), want: 'malformed' },
  { rule: 'JWT-SVID §3.1: sub of another trust domain than the key', token: tokenOf(HEADER, { ...CLAIMS, sub: 'spiffe://west.acme.example/x' }), want: 'unknown-key' },
  { rule: 'JWT-SVID §3.1: sub of another trust domain, without kid', token: tokenOf({ alg: 'ES256' }, { ...CLAIMS, sub: 'spiffe://west.acme.example/x' }), want: 'bad-signature' },
  { rule: 'JWT-SVID §3.1: sub of a trust domain nobody knows', token: tokenOf(HEADER, { ...CLAIMS, sub: 'spiffe://north.acme.example/x' }), want: 'no-bundle' },
  { rule: 'JWT-SVID §3.2: aud is missing', token: tokenOf(HEADER, without('aud')), want: 'malformed' },
  { rule: 'JWT-SVID §3.2: aud is empty', token: tokenOf(HEADER, { ...CLAIMS, aud: [] }), want: 'malformed' },
  { rule: 'JWT-SVID §3.2: aud is an empty name', token: tokenOf(HEADER, { ...CLAIMS, aud: '' }), want: 'malformed' },
  { rule: 'JWT-SVID §3.2: aud holds something that is no text', token: tokenOf(HEADER, { ...CLAIMS, aud: [AUDIENCE, 1] }), want: 'malformed' },
  { rule: 'JWT-SVID §3.2: aud of more names than anybody has', token: tokenOf(HEADER, { ...CLAIMS, aud: Array.from({ length: 65 }, () => AUDIENCE) }), want: 'malformed' },
  { rule: 'JWT-SVID §3.2: aud is somebody else', token: tokenOf(HEADER, { ...CLAIMS, aud: 'other' }), want: 'wrong-audience' },
  { rule: 'JWT-SVID §3.2: aud begins like ours and goes on', token: tokenOf(HEADER, { ...CLAIMS, aud: `${AUDIENCE}2` }), want: 'wrong-audience' },
  { rule: 'JWT-SVID §3.2: ours is one of several', token: tokenOf(HEADER, { ...CLAIMS, aud: ['other', AUDIENCE] }), want: 'ok' },
  { rule: 'JWT-SVID §3.3: exp is missing', token: tokenOf(HEADER, without('exp')), want: 'malformed' },
  { rule: 'JWT-SVID §3.3: exp is text', token: tokenOf(HEADER, { ...CLAIMS, exp: String(NOW + 300) }), want: 'malformed' },
  { rule: 'JWT-SVID §3.3: exp is beyond all dates', token: tokenOf(HEADER, '{"sub":"spiffe://east.acme.example/x","aud":"a","exp":1e400}'), want: 'malformed' },
  { rule: 'JWT-SVID §3.3: exp is negative', token: tokenOf(HEADER, { ...CLAIMS, exp: -1 }), want: 'malformed' },
  { rule: 'JWT-SVID §3.3: exp is past by more than the skew', token: tokenOf(HEADER, { ...CLAIMS, exp: NOW - CLOCK_SKEW_MS / 1_000 }), want: 'expired' },
  { rule: 'JWT-SVID app. A: exp is past by less than the skew', token: tokenOf(HEADER, { ...CLAIMS, exp: NOW - CLOCK_SKEW_MS / 1_000 + 1 }), want: 'ok' },
  { rule: 'RFC 7519 §4.1.5: nbf is further ahead than the skew', token: tokenOf(HEADER, { ...CLAIMS, nbf: NOW + CLOCK_SKEW_MS / 1_000 + 1 }), want: 'not-yet-valid' },
  { rule: 'RFC 7519 §4.1.5: nbf is ahead by no more than the skew', token: tokenOf(HEADER, { ...CLAIMS, nbf: NOW + CLOCK_SKEW_MS / 1_000 }), want: 'ok' },
  { rule: 'RFC 7519 §4.1.6: a token issued in the future', token: tokenOf(HEADER, { ...CLAIMS, iat: NOW + 3_600, exp: NOW + 7_200 }), want: 'not-yet-valid' },
  { rule: 'JWT-SVID §4: a signature of another key', token: tokenOf(HEADER, CLAIMS, generateKey()), want: 'bad-signature' },
  { rule: 'JWT-SVID §4: claims of another token under this signature', token: `${goodHeader}.${part({ ...CLAIMS, sub: 'spiffe://east.acme.example/admin' })}.${goodSignature}`, want: 'bad-signature' },
  { rule: 'RFC 7518 §3.4: a signature in DER', token: `${goodHeader}.${goodClaims}.${sign('sha256', Buffer.from(`${goodHeader}.${goodClaims}`), key).toString('base64url')}`, want: 'bad-signature' },
  { rule: 'RFC 7518 §3.4: r and s are zero (CVE-2022-21449)', token: `${goodHeader}.${goodClaims}.${Buffer.alloc(64).toString('base64url')}`, want: 'bad-signature' },
  { rule: 'JWT-SVID §5.1: JWS in JSON serialization', token: JSON.stringify({ protected: goodHeader, payload: goodClaims, signature: goodSignature }), want: 'malformed' },
  { rule: 'JWT-SVID §5.1: five parts, as of JWE', token: `${good}.AAAA.AAAA`, want: 'malformed' },
  { rule: 'JWT-SVID §5.1: two parts', token: `${goodHeader}.${goodClaims}`, want: 'malformed' },
  { rule: 'JWT-SVID §5.1: an empty token', token: '', want: 'malformed' },
  { rule: 'RFC 7515 §2: padding', token: `${good}=`, want: 'malformed' },
  { rule: 'RFC 7515 §2: base64 with + and /', token: `${goodHeader}.${goodClaims}.++//`, want: 'malformed' },
  { rule: 'RFC 4648 §3.5: bits that mean nothing', token: `${goodHeader}.${goodClaims}.AB`, want: 'malformed' },
  { rule: 'RFC 7515 §2: white space around', token: ` ${good}\n`, want: 'malformed' },
  { rule: 'RFC 7515 §5.2: a header that is no object', token: tokenOf([HEADER], CLAIMS), want: 'malformed' },
  { rule: 'RFC 7519 §7.2: claims that are no object', token: tokenOf(HEADER, [CLAIMS]), want: 'malformed' },
  { rule: 'RFC 7519 §7.2: claims that are null', token: tokenOf(HEADER, null), want: 'malformed' },
  { rule: 'RFC 7519 §7.2: claims that are no UTF-8', token: `${goodHeader}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.AAAA`, want: 'malformed' },
  { rule: 'bounded: 16 KiB', token: tokenOf(HEADER, { ...CLAIMS, x: 'x'.repeat(17_000) }), want: 'too-large' },
  { rule: 'bounded: nesting without end', token: `${goodHeader}.${part('['.repeat(8_000))}.AAAA`, want: 'malformed' },
];

for (const { rule, token, want } of rows) {
  test(`${rule}: ${want}`, async () => {
    assert.equal(await reasonOf(token), want);
    const verdict = await verifyJwtSvid({ token, audience: AUDIENCE, bundles, nowMs: NOW_MS });
    if (!verdict.ok && token.length > 20) assert.ok(!verdict.detail.includes(token.slice(-20)), 'the refusal repeats the token');
  });
}

test('the skew that is tolerated is the one asked for', async () => {
  const late = { nowMs: NOW_MS + 300_000 + 5_000 };
  assert.deepEqual([await reasonOf(good, { ...late, skewMs: 5_000 }), await reasonOf(good, { ...late, skewMs: 5_001 }), await reasonOf(good, { ...late })], ['expired', 'ok', 'ok']);
});

test('a bundle handed over under another trust domain’s name trusts nothing', async () => {
  const west = bundles.get('west.acme.example');
  const verdict = await verifyJwtSvid({ token: tokenOf({ ...HEADER, kid: 'ec-west' }, CLAIMS, westKey), audience: AUDIENCE, bundles: { get: () => west }, nowMs: NOW_MS });
  assert.equal(verdict.ok || verdict.reason, 'no-bundle');
});

test('a key that is gone from the bundle verifies nothing any more', async () => {
  const set = openBundleSet([bundleOf('east.acme.example', [jwtAuthorityOf(key, 'ec')])]);
  const verify = async (): Promise<boolean> => (await verifyJwtSvid({ token: good, audience: AUDIENCE, bundles: set, nowMs: NOW_MS })).ok;
  assert.equal(await verify(), true);
  set.update({ ...bundleOf('east.acme.example', []), sequence: 2 });
  assert.equal(await verify(), false);
});

test('nothing is signed for nobody, for a trust domain, or by a key of another kind', async () => {
  const request = { key, keyId: 'ec', spiffeId: PAYMENTS, audience: [AUDIENCE], nowMs: NOW_MS, ttlMs: 300_000 };
  for (const over of [{ audience: [] }, { audience: [''] }, { spiffeId: 'spiffe://east.acme.example' as SpiffeId }, { key: generateKey('ed25519') }, { key: weakRsa }, { algorithm: 'RS256' as const }, { algorithm: 'ES384' as const }, { keyId: '' }]) {
    await assert.rejects(signJwtSvid({ ...request, ...over }), { code: 'PKI_JWT_INVALID' }, JSON.stringify(Object.keys(over)));
  }
});

test('a key ID made of the key is the same each time, and another for another key', () => {
  assert.equal(jwtAuthorityOf(key).keyId, jwtAuthorityOf(createPublicKey(key)).keyId);
  assert.notEqual(jwtAuthorityOf(key).keyId, jwtAuthorityOf(rsa).keyId);
});
