// JWT-SVIDs: signed for a workload and an audience, and verified against the keys of the trust domain they name.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { type Bundle, formatProblems, type JwtAuthority, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { compactVerify, CompactSign } from 'jose';
import type { BundleSource } from './bundle-set.ts';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { fail } from './errors.ts';
import { type JwtAlgorithm, MAX_TOKEN_BYTES, parseJwtSvid, type UnverifiedJwtSvid } from './jwt-token.ts';
import { weaknessOf } from './key.ts';
import { sha256Hex } from './x509-svid.ts';

/** The public half of a key that signs JWT-SVIDs, as bundles hold it; its key ID is made of the key, where none is given. */
export function jwtAuthorityOf(key: KeyObject, keyId?: string): JwtAuthority {
  const spki = (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' });
  return { keyId: keyId ?? sha256Hex(spki).slice(0, 32), publicKey: spki.toString('base64') };
}

/**
 * Signs a JWT-SVID with `sub`, `aud`, `exp` and `iat`; the algorithm is the usual one of the key (EC P-256: ES256, RSA:
 * RS256) or the one asked for. `ttlMs` is counted in whole seconds. Source: JWT-SVID §2–5.
 * **Throws** PKI_JWT_INVALID when the key cannot sign that way, nobody is the audience, or the name is no workload's.
 */
export async function signJwtSvid(request: {
  readonly key: KeyObject;
  readonly keyId: string;
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  readonly nowMs: number;
  readonly ttlMs: number;
  readonly algorithm?: JwtAlgorithm;
}): Promise<string> {
  const { key, keyId, spiffeId, audience, nowMs, ttlMs } = request;
  const algorithm = request.algorithm ?? usualAlgorithm(key);
  if (algorithm === undefined || !suits(key, algorithm)) {
    throw fail('PKI_JWT_INVALID', `a key of type ${key.asymmetricKeyType ?? 'unknown'} signs no JWT-SVIDs${algorithm === undefined ? '' : ` with ${algorithm}`}`);
  }
  const issuedAt = Math.floor(nowMs / 1_000);
  const claims = { sub: spiffeId, aud: audience.length === 1 ? audience[0] : audience, exp: issuedAt + Math.floor(ttlMs / 1_000), iat: issuedAt };
  const payload = new TextEncoder().encode(JSON.stringify(claims));
  const token = await new CompactSign(payload).setProtectedHeader({ alg: algorithm, kid: keyId, typ: 'JWT' }).sign(key);
  const readBack = parseJwtSvid(token);
  if (!readBack.ok) throw fail('PKI_JWT_INVALID', `what was asked for is no JWT-SVID: ${formatProblems(readBack.problems)}`);
  return token;
}

/** Why a token is refused. */
export type JwtRefusal = 'too-large' | 'malformed' | 'no-bundle' | 'unknown-key' | 'bad-signature' | 'wrong-audience' | 'expired' | 'not-yet-valid';

export type JwtVerdict =
  | { readonly ok: true; readonly svid: UnverifiedJwtSvid }
  /** `detail` holds nothing of the token but names that parsed. */
  | { readonly ok: false; readonly reason: JwtRefusal; readonly detail: string };

/**
 * Verifies a token for one audience: the trust domain of its `sub` picks the bundle, whose JWT keys alone are asked.
 * A time is judged with the clock skew: taken until that long after `exp`, and from that long before `nbf` and `iat`.
 * Never throws. Source: JWT-SVID §3, §4; RFC 7515 §5.2.
 */
export async function verifyJwtSvid(request: {
  readonly token: string;
  readonly audience: string;
  readonly bundles: Pick<BundleSource, 'get'>;
  readonly nowMs: number;
  readonly skewMs?: number;
}): Promise<JwtVerdict> {
  const { token, audience, bundles, nowMs, skewMs = CLOCK_SKEW_MS } = request;
  if (token.length > MAX_TOKEN_BYTES) return refuse('too-large', `a token of ${token.length} bytes, ${MAX_TOKEN_BYTES} are allowed`);
  const read = parseJwtSvid(token);
  if (!read.ok) return refuse('malformed', formatProblems(read.problems));
  const svid = read.value;
  const trustDomain = trustDomainOf(svid.spiffeId);
  const bundle = bundles.get(trustDomain);
  if (bundle === undefined || bundle.trustDomain !== trustDomain) return refuse('no-bundle', `no bundle for trust domain ${trustDomain}`);
  const keys = keysOf(bundle).filter(({ keyId, key }) => (svid.keyId === undefined || svid.keyId === keyId) && suits(key, svid.algorithm));
  if (keys.length === 0) return refuse('unknown-key', `no key of ${trustDomain} has that key ID and signs with ${svid.algorithm}`);
  if (!(await isSignedByOne(token, svid.algorithm, keys))) return refuse('bad-signature', 'the signature does not hold');
  return claimsProblem(svid, audience, nowMs, skewMs) ?? { ok: true, svid };
}

function claimsProblem(svid: UnverifiedJwtSvid, audience: string, nowMs: number, skewMs: number): JwtVerdict | undefined {
  if (!svid.audience.includes(audience)) return refuse('wrong-audience', `the token of ${svid.spiffeId} is for somebody else`);
  if (nowMs >= svid.expiresAtMs + skewMs) return refuse('expired', `the token ran out at ${new Date(svid.expiresAtMs).toISOString()}`);
  const fromMs = Math.max(svid.notBeforeMs ?? 0, svid.issuedAtMs ?? 0);
  if (nowMs < fromMs - skewMs) return refuse('not-yet-valid', `the token begins at ${new Date(fromMs).toISOString()}`);
  return undefined;
}

function refuse(reason: JwtRefusal, detail: string): JwtVerdict & { readonly ok: false } {
  return { ok: false, reason, detail };
}

type JwtKey = { readonly keyId: string; readonly key: KeyObject };
const keyCache = new WeakMap<Bundle, readonly JwtKey[]>();

/** The keys of a bundle; one that cannot be read is left out, so that it takes no other with it. */
function keysOf(bundle: Bundle): readonly JwtKey[] {
  let keys = keyCache.get(bundle);
  if (keys === undefined) {
    keys = (bundle.jwtAuthorities ?? []).flatMap(({ keyId, publicKey }) => {
      try {
        return [{ keyId, key: createPublicKey({ key: Buffer.from(publicKey, 'base64'), format: 'der', type: 'spki' }) }];
      } catch {
        return [];
      }
    });
    keyCache.set(bundle, keys);
  }
  return keys;
}

/** A token without key ID is held against every key that signs its way (JWT-SVID §2.2: `kid` is optional). */
async function isSignedByOne(token: string, algorithm: JwtAlgorithm, keys: readonly JwtKey[]): Promise<boolean> {
  for (const { key } of keys) {
    try {
      await compactVerify(token, key, { algorithms: [algorithm] });
      return true;
    } catch {
      // Not signed by this one; whatever jose holds against the token, it is no reason to take it.
    }
  }
  return false;
}

const CURVES: Readonly<Record<string, JwtAlgorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

function usualAlgorithm(key: KeyObject): JwtAlgorithm | undefined {
  if (key.asymmetricKeyType === 'rsa') return 'RS256';
  return key.asymmetricKeyType === 'ec' ? CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''] : undefined;
}

/** Whether a key is of the algorithm's kind and strong enough: a public key is never taken for another's secret. */
function suits(key: KeyObject, algorithm: JwtAlgorithm): boolean {
  if (algorithm.startsWith('ES')) return usualAlgorithm(key) === algorithm;
  return key.asymmetricKeyType === 'rsa' && weaknessOf(key) === undefined;
}
