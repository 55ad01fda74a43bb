// One-time tokens: a secret, whom it is for, and the fingerprint of the root, so that the joiner knows whom it calls.
import { randomBytes } from 'node:crypto';
import { type Parsed, parsed, refused } from '@isthmus/model';
import { sha256Hex } from './x509-svid.ts';

/** `ict`: a cluster's bootstrap token. `ijt`: a join token of an agent or gateway. */
export type TokenPrefix = 'ict' | 'ijt';

export type Token = {
  readonly prefix: TokenPrefix;
  readonly fields: Readonly<Record<string, string>>;
  /** SHA-256 (hex) of the root certificate in DER. */
  readonly pinSha256: string;
  /** What the issuer kept: the hash of the secret. */
  readonly secretSha256: string;
};

const MAX_TOKEN_CHARS = 2_048;

/** Makes a token of 256 random bits. `token` is shown once; `secretSha256` is what may be kept, `id` its first 12 digits. */
export function makeToken(request: { readonly prefix: TokenPrefix; readonly pinSha256: string; readonly fields: Readonly<Record<string, string>> }): {
  readonly token: string;
  readonly secretSha256: string;
  readonly id: string;
} {
  const secret = randomBytes(32);
  const body = Buffer.from(JSON.stringify({ ...request.fields, pin: request.pinSha256 })).toString('base64url');
  const secretSha256 = sha256Hex(secret);
  return { token: `${request.prefix}1.${body}.${secret.toString('base64url')}`, secretSha256, id: secretSha256.slice(0, 12) };
}

/** Reads a token; garbage is refused without being repeated. */
export function parseToken(text: string): Parsed<Token> {
  const bad = refused<Token>('token', 'is no Isthmus token (want ict1.… or ijt1.…, whole and unchanged)');
  if (text.length > MAX_TOKEN_CHARS) return bad;
  const match = /^(ict|ijt)1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/.exec(text.trim());
  if (match === null) return bad;
  try {
    const body: unknown = JSON.parse(Buffer.from(match[2] ?? '', 'base64url').toString('utf8'));
    if (typeof body !== 'object' || body === null) return bad;
    const { pin, ...rest } = body as Record<string, unknown>;
    if (typeof pin !== 'string' || !/^[0-9a-f]{64}$/.test(pin)) return bad;
    const fields: Record<string, string> = {};
    for (const [name, value] of Object.entries(rest)) {
      if (typeof value !== 'string') return bad;
      fields[name] = value;
    }
    const secret = Buffer.from(match[3] ?? '', 'base64url');
    return parsed({ prefix: match[1] as TokenPrefix, fields, pinSha256: pin, secretSha256: sha256Hex(secret) });
  } catch {
    return bad;
  }
}
