// A JWT-SVID taken apart: bounded, strict, and not yet believed.
import { messageOf, type Parsed, parsed, parseSpiffeId, pathOf, refused, type SpiffeId } from '@isthmus/model';

/** The algorithms a JWT-SVID may be signed with. Source: JWT-SVID §2.1. */
export const JWT_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512'] as const;
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

/** What a token says of itself; nothing of it is proved before its signature is. Times are of the issuer's clock. */
export type UnverifiedJwtSvid = {
  readonly algorithm: JwtAlgorithm;
  readonly keyId: string | undefined;
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  readonly expiresAtMs: number;
  readonly notBeforeMs: number | undefined;
  readonly issuedAtMs: number | undefined;
  /** All claims, those read above among them. */
  readonly claims: Readonly<Record<string, unknown>>;
};

/** Longer tokens are refused unread: a header of HTTP holds no more either. */
export const MAX_TOKEN_BYTES = 16 * 1024;
const MAX_AUDIENCES = 64;
const MAX_AUDIENCE_CHARS = 2_048;
const HEADERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
/** Later times would not fit a date (RFC 7519 has no bound, ECMA-262 §21.4.1.1 does). */
const MAX_NUMERIC_DATE = 8.64e12;

/**
 * Reads a token's header and claims by the rules of the standard: JWS compact serialization, no header but `alg`, `kid`
 * and `typ`, an algorithm of the list, `sub`, `aud` and `exp`. Never throws, never repeats the token.
 * Source: JWT-SVID §2, §3, §5.1; RFC 7515 §3.1; RFC 7519 §4.1.
 */
export function parseJwtSvid(token: string): Parsed<UnverifiedJwtSvid> {
  if (token.length > MAX_TOKEN_BYTES) return refused('token', `is longer than ${MAX_TOKEN_BYTES} bytes`);
  const parts = token.split('.');
  const [header, payload, signature] = parts;
  if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined || !isBase64Url(signature)) {
    return refused('token', 'is no JWS in compact serialization');
  }
  try {
    const judged = readHeader(jsonOf(header));
    if (!judged.ok) return judged;
    const claims = readClaims(jsonOf(payload));
    return claims.ok ? parsed({ ...judged.value, ...claims.value }) : claims;
  } catch (error) {
    return refused('token', error instanceof TokenFault ? messageOf(error) : 'does not parse');
  }
}

class TokenFault extends TypeError {}

function readHeader(header: Readonly<Record<string, unknown>>): Parsed<Pick<UnverifiedJwtSvid, 'algorithm' | 'keyId'>> {
  const { alg, kid, typ } = header;
  const algorithm = JWT_ALGORITHMS.find((known) => known === alg);
  if (algorithm === undefined) return refused('alg', 'is no algorithm of JWT-SVIDs');
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE') return refused('typ', 'is neither JWT nor JOSE');
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > 256)) return refused('kid', 'is no key ID');
  if (!Object.keys(header).every((name) => HEADERS.has(name))) return refused('header', 'holds more than alg, kid and typ');
  return parsed({ algorithm, keyId: kid });
}

function readClaims(claims: Readonly<Record<string, unknown>>): Parsed<Omit<UnverifiedJwtSvid, 'algorithm' | 'keyId'>> {
  if (typeof claims['sub'] !== 'string') return refused('sub', 'is missing');
  const subject = parseSpiffeId(claims['sub'], 'sub');
  if (!subject.ok) return refused('sub', 'is no SPIFFE ID');
  if (pathOf(subject.value) === '') return refused('sub', 'names a trust domain, not a workload');
  const audience = audienceOf(claims['aud']);
  if (audience === undefined) return refused('aud', `is missing, or no list of 1 to ${MAX_AUDIENCES} names`);
  const expiresAtMs = dateOf(claims['exp']);
  if (expiresAtMs === undefined) return refused('exp', 'is missing');
  return parsed({ spiffeId: subject.value, audience, expiresAtMs, notBeforeMs: dateOf(claims['nbf']), issuedAtMs: dateOf(claims['iat']), claims });
}

/** One name or a list of them (RFC 7519 §4.1.3). */
function audienceOf(aud: unknown): readonly string[] | undefined {
  const list: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (list.length === 0 || list.length > MAX_AUDIENCES) return undefined;
  const names = list.filter((name): name is string => typeof name === 'string' && name !== '' && name.length <= MAX_AUDIENCE_CHARS);
  return names.length === list.length ? names : undefined;
}

/** A NumericDate in milliseconds, undefined where there is none (RFC 7519 §2). **Throws** for a value that is no date. */
function dateOf(seconds: unknown): number | undefined {
  if (seconds === undefined) return undefined;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds < 0 || seconds > MAX_NUMERIC_DATE) throw new TokenFault('has a time that is none');
  return seconds * 1_000;
}

/** Base64url with one form for each value: no padding, no stray bits (RFC 7515 §2, RFC 4648 §3.5). */
function isBase64Url(text: string): boolean {
  return /^[A-Za-z0-9_-]+$/.test(text) && Buffer.from(text, 'base64url').toString('base64url') === text;
}

function jsonOf(part: string): Readonly<Record<string, unknown>> {
  if (!isBase64Url(part)) throw new TokenFault('is not base64url');
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(part, 'base64url')));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TokenFault('holds no JSON object');
  return value as Readonly<Record<string, unknown>>;
}
