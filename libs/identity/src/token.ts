// Judging a one-time token against what is kept of it; shared by bootstrap and join tokens.
import { timingSafeEqual } from 'node:crypto';
import type { IsthmusError } from '@isthmus/model';
import { parseToken } from '@isthmus/pki';
import { fail } from './errors.ts';

export const DEFAULT_TOKEN_TTL_SECONDS = 3_600;
export const MAX_TOKEN_TTL_SECONDS = 7 * 86_400;

/** What a presented token says about itself, once it has the right form and is meant for here. */
export type PresentedToken = { readonly id: string; readonly secretSha256: string; readonly fields: Readonly<Record<string, string>> };

/** The one coded refusal of a token: the reason is text, the secret is in neither text nor facts. */
export function tokenRefused(reason: string, hint = 'make a new token'): IsthmusError {
  return fail('IDENTITY_TOKEN_REFUSED', `the token is refused: ${reason}`, { hint });
}

/** First 12 hex digits of the hash: the name people see and delete by. */
export function tokenId(secretSha256: string): string {
  return secretSha256.slice(0, 12);
}

/** Roots a token may have been made under, and those it may have been made under once; SHA-256 in hex. */
export type KnownRoots = { readonly pins: readonly string[]; readonly former?: readonly { readonly sha256: string; readonly retiredAtMs: number }[] };

/** **Throws** IDENTITY_TOKEN_REFUSED for garbage, the other kind of token, or one made under another root. */
export function presentedToken(text: string, prefix: 'ict' | 'ijt', roots: KnownRoots): PresentedToken {
  const parsed = parseToken(text);
  if (!parsed.ok) throw tokenRefused('it is garbage, not a token of this system');
  const { value } = parsed;
  if (value.prefix !== prefix) {
    throw tokenRefused(prefix === 'ict' ? 'it is a join token, not a cluster’s bootstrap token' : 'it is a bootstrap token, not a join token');
  }
  if (!roots.pins.includes(value.pinSha256)) {
    const former = roots.former?.find((r) => r.sha256 === value.pinSha256);
    throw tokenRefused(former === undefined ? 'it was made under another root' : `it was made under a root that was retired at ${new Date(former.retiredAtMs).toISOString()}`);
  }
  return { id: tokenId(value.secretSha256), secretSha256: value.secretSha256, fields: value.fields };
}

/** Constant-time comparison of two hashes in hex. */
export function sameHash(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** **Throws** IDENTITY_TOKEN_REFUSED when the kept token is used or has run out. */
export function checkUnspent(kept: { readonly usedAtMs?: number | undefined; readonly expiresAtMs: number }, nowMs: number): void {
  if (kept.usedAtMs !== undefined) throw tokenRefused(`it was used at ${new Date(kept.usedAtMs).toISOString()}`);
  if (kept.expiresAtMs <= nowMs) throw tokenRefused(`it expired at ${new Date(kept.expiresAtMs).toISOString()}`);
}
