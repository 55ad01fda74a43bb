// Each way a token of another issuer can be wrong, and the one in which it is right.
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { base64url, exportJWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { claimedIssuer, type IssuerKeys, parseJwks, type TokenRefusal, verifyIssuerToken } from './issuer-token.ts';

const NOW_MS = Date.UTC(2026, 10, 21);
const NOW = NOW_MS / 1_000;
const ISSUER = 'https://issuer.example';
const AUDIENCE = 'isthmus://east.acme.example';
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const CLAIMS: JWTPayload = { iss: ISSUER, aud: AUDIENCE, sub: 'system:serviceaccount:shop:payments', iat: NOW, exp: NOW + 600 };

async function jwksOf(...pairs: readonly (readonly [string, KeyObject])[]): Promise<string> {
  return JSON.stringify({ keys: await Promise.all(pairs.map(async ([kid, key]) => ({ ...(await exportJWK(key)), kid }))) });
}

function keysOf(text: string): IssuerKeys {
  const result = parseJwks(text);
  assert.ok(result.ok);
  return result.value;
}

const keys = keysOf(await jwksOf(['ec', ec.publicKey], ['rsa', rsa.publicKey]));
const signed = (claims: JWTPayload, { key = ec.privateKey, ...header }: { readonly key?: KeyObject; readonly alg?: string; readonly kid?: string; readonly crit?: string[] } = {}): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'ec', ...header }).sign(key);
const judge = (token: string, over: Partial<Parameters<typeof verifyIssuerToken>[0]> = {}) =>
  verifyIssuerToken({ token, keys, issuer: ISSUER, audience: AUDIENCE, maxLifeMs: 3_600_000, nowMs: NOW_MS, ...over });

test('a token of this issuer for this audience is taken, with its claims and its end', async () => {
  const verdict = await judge(await signed({ ...CLAIMS, aud: ['other', AUDIENCE], project: 'p' }));
  assert.ok(verdict.ok);
  assert.deepEqual([verdict.subject, verdict.expiresAtMs, verdict.claims['project']], [CLAIMS.sub, NOW_MS + 600_000, 'p']);
  assert.ok((await judge(await signed(CLAIMS, { alg: 'RS256', kid: 'rsa', key: rsa.privateKey }))).ok);
});

const without = (claim: string): JWTPayload => Object.fromEntries(Object.entries(CLAIMS).filter(([name]) => name !== claim));
const claimRows: readonly (readonly [string, JWTPayload, TokenRefusal])[] = [
  ['another issuer', { ...CLAIMS, iss: 'https://evil.example' }, 'wrong-issuer'],
  ['an issuer with a slash more', { ...CLAIMS, iss: `${ISSUER}/` }, 'wrong-issuer'],
  ['another audience', { ...CLAIMS, aud: 'isthmus://west.acme.example' }, 'wrong-audience'],
  ['expired beyond the skew', { ...CLAIMS, iat: NOW - 700, exp: NOW - 61 }, 'expired'],
  ['valid only later', { ...CLAIMS, nbf: NOW + 61 }, 'not-yet-valid'],
  ['issued in the future', { ...CLAIMS, iat: NOW + 61 }, 'not-yet-valid'],
  ['without an end', without('exp'), 'no-expiry'],
  ['too long a life', { ...CLAIMS, exp: NOW + 3_601 }, 'too-long-lived'],
  ['too long a life that is nearly over', { ...CLAIMS, iat: NOW - 86_400, exp: NOW + 60 }, 'too-long-lived'],
  ['without a subject', without('sub'), 'malformed'],
  ['a subject of 401 characters', { ...CLAIMS, sub: 'x'.repeat(401) }, 'malformed'],
];
for (const [name, claims, reason] of claimRows) {
  test(`refused: ${name}`, async () => {
    const verdict = await judge(await signed(claims));
    assert.equal(verdict.ok ? 'taken' : verdict.reason, reason);
  });
}

test('within the skew of a minute a clock that differs is forgiven', async () => {
  for (const claims of [{ ...CLAIMS, iat: NOW - 600, exp: NOW - 59 }, { ...CLAIMS, iat: NOW + 59, nbf: NOW + 59 }]) assert.ok((await judge(await signed(claims))).ok);
});

test('alg none, and an HMAC made with the public key as its secret, are refused', async () => {
  const none = new UnsecuredJWT(CLAIMS).encode();
  const verdict = await judge(none);
  assert.ok(!verdict.ok && ['algorithm', 'malformed'].includes(verdict.reason));
  const pem = createPublicKey(rsa.privateKey).export({ type: 'spki', format: 'pem' });
  const body = `${base64url.encode(JSON.stringify({ alg: 'HS256', kid: 'rsa' }))}.${base64url.encode(JSON.stringify(CLAIMS))}`;
  const confused = await judge(`${body}.${createHmac('sha256', pem).update(body).digest('base64url')}`);
  assert.equal(confused.ok ? 'taken' : confused.reason, 'algorithm');
});

test('a key the token brings along is not used', async () => {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = await exportJWK(own.publicKey);
  const token = await new SignJWT(CLAIMS).setProtectedHeader({ alg: 'ES256', kid: 'ec', jwk, jku: 'https://evil.example/jwks' }).sign(own.privateKey);
  const verdict = await judge(token);
  assert.equal(verdict.ok ? 'taken' : verdict.reason, 'bad-signature');
});

test('an unknown key is told apart from a broken signature', async () => {
  const other = await judge(await signed(CLAIMS, { kid: 'newer' }));
  assert.equal(other.ok ? 'taken' : other.reason, 'unknown-key');
  const token = await signed(CLAIMS);
  const at = token.lastIndexOf('.') + 5;
  const broken = await judge(`${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`);
  assert.equal(broken.ok ? 'taken' : broken.reason, 'bad-signature');
});

test('an RSA key under 2048 bits, an unknown critical header, garbage and 17 KiB are refused', async () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 });
  const weakKeys = keysOf(await jwksOf(['weak', weak.publicKey]));
  const header = base64url.encode(JSON.stringify({ alg: 'RS256', kid: 'weak' }));
  const { sign } = await import('node:crypto');
  const body = `${header}.${base64url.encode(JSON.stringify(CLAIMS))}`;
  assert.equal((await judge(`${body}.${sign('sha256', Buffer.from(body), weak.privateKey).toString('base64url')}`, { keys: weakKeys })).ok, false);
  const critical = `${base64url.encode(JSON.stringify({ alg: 'ES256', kid: 'ec', crit: ['x'], x: 1 }))}.${base64url.encode(JSON.stringify(CLAIMS))}`;
  assert.equal((await judge(`${critical}.${sign('sha256', Buffer.from(critical), { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`)).ok, false);
  for (const garbage of ['', '.', '..', 'a.b.c', 'x'.repeat(17 * 1024)]) assert.equal((await judge(garbage)).ok, false);
});

test('a JWKS is held to its form and size; symmetric keys and private halves in it are not kept', async () => {
  for (const bad of ['', '[]', '{}', '{"keys":7}', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}', JSON.stringify({ keys: Array.from({ length: 101 }, () => ({ kty: 'EC' })) }), `{"keys":[],"x":"${'y'.repeat(300_000)}"}`]) {
    assert.equal(parseJwks(bad).ok, false, bad.slice(0, 40));
  }
  const leaked = JSON.stringify({ keys: [{ ...(await exportJWK(ec.privateKey)), kid: 'ec' }, { kty: 'oct', kid: 'hs', k: 'c2VjcmV0' }] });
  const read = keysOf(leaked);
  assert.deepEqual(read.kids, ['ec']);
  assert.equal(JSON.stringify(read.resolve.jwks()).includes('"d"'), false);
  assert.ok((await judge(await signed(CLAIMS), { keys: read })).ok);
});

test('the claimed issuer is read without trust, and only from a token', async () => {
  assert.deepEqual(claimedIssuer(await signed(CLAIMS)), { issuer: ISSUER, audiences: [AUDIENCE] });
  for (const bad of ['', 'a.b.c', 'x'.repeat(20_000)]) assert.equal(claimedIssuer(bad), undefined);
});
