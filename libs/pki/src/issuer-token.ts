// Tokens of other issuers (JWT, RFC 7519) judged against their keys (JWKS, RFC 7517): signature, names, times and life.
import { createLocalJWKSet, decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { messageOf, type Parsed, parsed, refused } from '@isthmus/model';

/** Why a token is refused. */
export type TokenRefusal =
  | 'malformed'
  | 'algorithm'
  | 'unknown-key'
  | 'bad-signature'
  | 'wrong-issuer'
  | 'wrong-audience'
  | 'expired'
  | 'not-yet-valid'
  | 'no-expiry'
  | 'too-long-lived';

/** The claims of a token that was verified. */
export type TokenClaims = Readonly<Record<string, unknown>>;

export type TokenVerdict =
  | { readonly ok: true; readonly claims: TokenClaims; readonly subject: string; readonly expiresAtMs: number }
  | { readonly ok: false; readonly reason: TokenRefusal; readonly detail: string };

/** The public keys of one issuer. */
export type IssuerKeys = { readonly kids: readonly string[]; readonly resolve: ReturnType<typeof createLocalJWKSet> };

/** Larger ones than this are of no issuer we know: Azure's tokens have about 2 KiB. */
export const MAX_TOKEN_BYTES = 16 * 1024;
export const MAX_JWKS_BYTES = 256 * 1024;
const MAX_KEYS = 100;
const DEFAULT_SKEW_MS = 60_000;

/** Asymmetric signatures only: `none` and the HS family can never be named by a token (RFC 8725 §3.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

/** The members of a public key; whatever else a document holds, private halves among it, is not kept. */
const PUBLIC_MEMBERS = ['kty', 'kid', 'use', 'alg', 'key_ops', 'n', 'e', 'crv', 'x', 'y'];

/** Reads a JWKS: at most 256 KiB and 100 keys; keys that are not RSA, EC or OKP are left out. */
export function parseJwks(text: string): Parsed<IssuerKeys> {
  const bad = (why: string): Parsed<IssuerKeys> => refused('jwks', why);
  if (text.length > MAX_JWKS_BYTES) return bad(`is larger than ${MAX_JWKS_BYTES} bytes`);
  const document = parseJson(text);
  const all = isObject(document) ? document['keys'] : undefined;
  if (!Array.isArray(all)) return bad('is no JWKS: it has no list of keys (RFC 7517 §5)');
  if (all.length > MAX_KEYS) return bad(`holds ${all.length} keys, at most ${MAX_KEYS} are taken`);
  const keys = all.filter((key) => isObject(key) && ['RSA', 'EC', 'OKP'].includes(String(key['kty']))).map(publicHalf);
  if (keys.length === 0) return bad('holds no RSA, EC or OKP key');
  const kids = keys.flatMap(({ kid }) => (typeof kid === 'string' ? [kid] : []));
  try {
    return parsed({ kids, resolve: createLocalJWKSet({ keys }) });
  } catch (error) {
    return bad(messageOf(error));
  }
}

/** Issuer and audiences a token claims, without any proof: only to choose whose keys to judge it by. */
export function claimedIssuer(token: string): { readonly issuer: string; readonly audiences: readonly string[] } | undefined {
  if (token.length > MAX_TOKEN_BYTES) return undefined;
  try {
    const { iss, aud } = decodeJwt(token);
    if (typeof iss !== 'string') return undefined;
    const audiences = (Array.isArray(aud) ? aud : [aud]).filter((name) => typeof name === 'string');
    return { issuer: iss, audiences };
  } catch {
    return undefined;
  }
}

/**
 * Judges a compact JWS: an asymmetric signature by a key of `keys`, this issuer, this audience, times within the skew
 * (60 s), an end, and a life no longer than `maxLifeMs`. Keys named inside the token (`jwk`, `jku`, `x5c`) are never used.
 * Source: RFC 7519 §4.1, RFC 8725 §3.
 */
export async function verifyIssuerToken(request: {
  readonly token: string;
  readonly keys: IssuerKeys;
  readonly issuer: string;
  readonly audience: string;
  readonly maxLifeMs: number;
  readonly nowMs: number;
  readonly skewMs?: number;
}): Promise<TokenVerdict> {
  const { token, keys, issuer, audience, nowMs, skewMs = DEFAULT_SKEW_MS } = request;
  if (token.length > MAX_TOKEN_BYTES) return refuse('malformed', `it is larger than ${MAX_TOKEN_BYTES} bytes`);
  try {
    const { payload } = await jwtVerify(token, keys.resolve, {
      algorithms: ALGORITHMS,
      issuer,
      audience,
      currentDate: new Date(nowMs),
      clockTolerance: skewMs / 1_000,
    });
    return judgeTimes(payload, request.maxLifeMs, nowMs, skewMs);
  } catch (error) {
    return refuse(reasonOf(error), messageOf(error));
  }
}

/** What jose leaves to its caller: that there is an end at all, that it was not issued in the future, and how long it lives. */
function judgeTimes(claims: JWTPayload, maxLifeMs: number, nowMs: number, skewMs: number): TokenVerdict {
  const { exp, iat, nbf, sub } = claims;
  if (exp === undefined) return refuse('no-expiry', 'it never expires');
  if (typeof sub !== 'string' || sub === '' || sub.length > 400) return refuse('malformed', 'it has no subject of 1 to 400 characters');
  if (iat !== undefined && iat * 1_000 > nowMs + skewMs) return refuse('not-yet-valid', `it was issued at ${instant(iat)}, which is in the future`);
  const begin = iat ?? nbf;
  const lifeMs = exp * 1_000 - (begin === undefined ? nowMs : begin * 1_000);
  if (lifeMs > maxLifeMs) return refuse('too-long-lived', `it lives ${Math.round(lifeMs / 1_000)} s, at most ${Math.round(maxLifeMs / 1_000)} s are taken`);
  return { ok: true, claims, subject: sub, expiresAtMs: exp * 1_000 };
}

function reasonOf(error: unknown): TokenRefusal {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    const byClaim: Readonly<Record<string, TokenRefusal>> = { iss: 'wrong-issuer', aud: 'wrong-audience', nbf: 'not-yet-valid', exp: 'expired' };
    return byClaim[error.claim] ?? 'malformed';
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad-signature';
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) return 'unknown-key';
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return 'algorithm';
  return 'malformed';
}

function refuse(reason: TokenRefusal, detail: string): TokenVerdict {
  return { ok: false, reason, detail };
}

function instant(seconds: number): string {
  const date = new Date(seconds * 1_000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString();
}

function publicHalf(key: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(PUBLIC_MEMBERS.filter((name) => Object.hasOwn(key, name)).map((name) => [name, key[name]])) as Record<string, string>;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
