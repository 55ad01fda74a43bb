// SPIFFE bundle documents: the model's bundle as a JWK set and back, strictly and within bounds.
import { createPublicKey, type KeyObject, type webcrypto, X509Certificate } from 'node:crypto';
import { type Bundle, type JwtAuthority, messageOf, type Parsed, parseBundle, type Problem, refused, type TrustDomain } from '@isthmus/model';

/** The largest document that is read. */
export const MAX_BUNDLE_DOCUMENT_BYTES = 1024 * 1024;
/** Entries of `keys` that are looked at; of these at most 32 X.509 and 32 JWT authorities are taken. */
const MAX_KEYS = 256;
const MAX_CERTIFICATE_BYTES = 12 * 1024;
const MAX_KEY_ID = 256;
/** A document without a hint is asked for again after five minutes (SPIFFE bundle §4.1.2 leaves it open; SPIRE's own default). */
const DEFAULT_REFRESH_HINT_SECONDS = 300;
const MAX_REFRESH_HINT_SECONDS = 30 * 86_400;
const KEY_TYPES: ReadonlySet<unknown> = new Set(['RSA', 'EC', 'OKP']);

/** What a document says. `sequence` is undefined where it gives none: then only its content tells it from another. */
export type BundleDocument = {
  readonly sequence: number | undefined;
  readonly bundle: Bundle;
};

/**
 * Reads a SPIFFE bundle document as that of `trustDomain`; the document itself names none, so who fetched it says whose
 * it is. Keys of a `kty` or `use` unknown here are ignored, so are X.509 keys without `x5c`, and what stands in `x5c`
 * after the first certificate (X.509-SVID §6.2). An X.509 key whose first certificate is no readable CA’s, a JWT key
 * without `kid`, or a key that stands twice makes the whole document garbage. No keys at all means: all is revoked.
 * **Bounds** 1 MiB, 256 keys, 32 of each use.
 * **Source** SPIFFE Trust Domain and Bundle §4, X.509-SVID §6, JWT-SVID §6; RFC 7517.
 */
export function parseBundleDocument(bytes: Uint8Array, trustDomain: TrustDomain): Parsed<BundleDocument> {
  if (bytes.byteLength > MAX_BUNDLE_DOCUMENT_BYTES) return refused('', `larger than ${MAX_BUNDLE_DOCUMENT_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    return refused('', `is not JSON: ${messageOf(error).slice(0, 100)}`);
  }
  if (!isObject(json)) return refused('', 'is no JSON object');
  const sequence = json['spiffe_sequence'];
  if (sequence !== undefined && !isCount(sequence)) return refused('spiffe_sequence', 'must be an integer from 0 to 2^53 - 1');
  const hint = json['spiffe_refresh_hint'] ?? DEFAULT_REFRESH_HINT_SECONDS;
  if (!isCount(hint)) return refused('spiffe_refresh_hint', 'must be a number of whole seconds');
  const keys = readKeys(json['keys']);
  if (!keys.ok) return keys;
  const bundle = parseBundle({
    trustDomain,
    sequence: sequence ?? 0,
    // Zero is "no hint" (SPIRE writes it so).
    refreshHintSeconds: hint === 0 ? DEFAULT_REFRESH_HINT_SECONDS : Math.min(hint, MAX_REFRESH_HINT_SECONDS),
    ...keys.value,
  });
  return bundle.ok ? { ok: true, value: { sequence, bundle: bundle.value } } : bundle;
}

/**
 * Writes a bundle as a SPIFFE bundle document. The same bundle gives the same bytes, so that its hash can stand for it.
 * **Source** SPIFFE Trust Domain and Bundle §4, X.509-SVID §6.1, JWT-SVID §6.
 */
export function makeBundleDocument(bundle: Bundle): string {
  const x509 = bundle.x509Authorities.map((base64) => {
    const jwk = new X509Certificate(Buffer.from(base64, 'base64')).publicKey.export({ format: 'jwk' });
    return { ...publicPart(jwk), use: 'x509-svid', x5c: [base64] };
  });
  const jwt = (bundle.jwtAuthorities ?? []).map(({ keyId, publicKey }) => {
    const jwk = createPublicKey({ key: Buffer.from(publicKey, 'base64'), format: 'der', type: 'spki' }).export({ format: 'jwk' });
    return { ...publicPart(jwk), use: 'jwt-svid', kid: keyId };
  });
  const { sequence, refreshHintSeconds } = bundle;
  return `${JSON.stringify({ keys: [...x509, ...jwt], spiffe_sequence: sequence, spiffe_refresh_hint: refreshHintSeconds }, null, 2)}\n`;
}

/** Whether two bundles trust the same keys, whatever their sequence, their hint and the order of their keys. */
export function hasSameKeys(a: Bundle, b: Bundle): boolean {
  return keysOf(a) === keysOf(b);
}

function keysOf(bundle: Bundle): string {
  return JSON.stringify([[...bundle.x509Authorities].sort(), (bundle.jwtAuthorities ?? []).map((k) => `${k.keyId} ${k.publicKey}`).sort()]);
}

type Keys = { readonly x509Authorities: string[]; readonly jwtAuthorities?: JwtAuthority[] };

function readKeys(entries: unknown): Parsed<Keys> {
  if (!Array.isArray(entries)) return refused('keys', 'must be an array');
  if (entries.length > MAX_KEYS) return refused('keys', `holds more than ${MAX_KEYS} keys`);
  const problems: Problem[] = [];
  const x509Authorities = new Set<string>();
  const jwtAuthorities = new Map<string, JwtAuthority>();
  for (const [i, entry] of entries.entries()) {
    const path = `keys[${i}]`;
    if (!isObject(entry)) return refused(path, 'is no JSON object');
    if (!KEY_TYPES.has(entry['kty'])) continue;
    if (entry['use'] === 'x509-svid') {
      const [first] = Array.isArray(entry['x5c']) ? (entry['x5c'] as readonly unknown[]) : [];
      // One without is to be ignored, and so is what stands behind the first (X.509-SVID §6.2).
      if (first === undefined) continue;
      const authority = readX509(first, path);
      if (!authority.ok) problems.push(...authority.problems);
      else if (x509Authorities.has(authority.value)) problems.push({ path, message: 'is a certificate that stands twice' });
      else x509Authorities.add(authority.value);
    } else if (entry['use'] === 'jwt-svid') {
      const authority = readJwt(entry, path);
      if (!authority.ok) problems.push(...authority.problems);
      else if (jwtAuthorities.has(authority.value.keyId)) problems.push({ path, message: 'has a kid that stands twice' });
      else jwtAuthorities.set(authority.value.keyId, authority.value);
    }
  }
  if (problems.length > 0) return { ok: false, problems: problems.slice(0, 20) };
  const jwt = [...jwtAuthorities.values()];
  return { ok: true, value: { x509Authorities: [...x509Authorities], ...(jwt.length > 0 && { jwtAuthorities: jwt }) } };
}

/** One DER certificate of `x5c`; a `kid` is none of an X.509 key's business, and left alone where there is one. */
function readX509(base64: unknown, path: string): Parsed<string> {
  if (typeof base64 !== 'string') return refused(`${path}.x5c`, 'holds a certificate that is no text');
  if (base64.length > MAX_CERTIFICATE_BYTES * 1.4) return refused(`${path}.x5c`, 'holds a certificate larger than 12 KiB');
  const der = Buffer.from(base64, 'base64');
  if (der.toString('base64') !== base64) return refused(`${path}.x5c`, 'is not base64');
  try {
    const cert = new X509Certificate(der);
    // What the certificate's reader skipped after its end would change its hash and nothing else.
    if (!cert.raw.equals(der)) return refused(`${path}.x5c`, 'has bytes after its certificate');
    if (!cert.ca) return refused(`${path}.x5c`, 'holds a certificate that is no CA');
    // OpenSSL reads the key when it is asked for; one that cannot be read could neither verify nor be written again.
    cert.publicKey.export({ format: 'jwk' });
  } catch (error) {
    return refused(`${path}.x5c`, `holds no certificate: ${messageOf(error).slice(0, 100)}`);
  }
  return { ok: true, value: base64 };
}

function readJwt(entry: JsonObject, path: string): Parsed<JwtAuthority> {
  const { kid } = entry;
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID) return refused(`${path}.kid`, `must be 1 to ${MAX_KEY_ID} characters`);
  if (['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'].some((secret) => secret in entry)) return refused(path, 'holds a private key');
  let key: KeyObject;
  try {
    key = createPublicKey({ key: publicPart(entry as webcrypto.JsonWebKey), format: 'jwk' });
  } catch (error) {
    return refused(path, `holds no public key: ${messageOf(error).slice(0, 100)}`);
  }
  return { ok: true, value: { keyId: kid, publicKey: key.export({ format: 'der', type: 'spki' }).toString('base64') } };
}

/** The members that make a public key of any of the three types, in one order. Source: RFC 7518 §6, RFC 8037 §2. */
function publicPart({ kty, crv, x, y, n, e }: webcrypto.JsonWebKey): webcrypto.JsonWebKey {
  return { ...(kty !== undefined && { kty }), ...(crv !== undefined && { crv }), ...(x !== undefined && { x }), ...(y !== undefined && { y }), ...(n !== undefined && { n }), ...(e !== undefined && { e }) };
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
