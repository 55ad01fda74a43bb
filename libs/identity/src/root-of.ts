// Which root an SVID hangs on, and what a process tells of that.
import { X509Certificate } from 'node:crypto';
import type { LiveRoot, TrustFacts } from '@isthmus/model';
import { type BundleSource, sha256Hex } from '@isthmus/pki';

const hashes = new Map<string, { readonly cert: X509Certificate; readonly sha256: string }>();
const MAX_HASHED = 256;

function rootFrom(base64: string): { readonly cert: X509Certificate; readonly sha256: string } {
  const known = hashes.get(base64);
  if (known !== undefined) return known;
  const der = Buffer.from(base64, 'base64');
  const root = { cert: new X509Certificate(der), sha256: sha256Hex(der) };
  if (hashes.size >= MAX_HASHED) hashes.clear();
  hashes.set(base64, root);
  return root;
}

/**
 * SHA-256 (hex) of the root of a bundle that signed a certificate of the chain, the one nearest to the leaf; undefined
 * where none did. `chain` is DER, leaf first, and was verified when it was taken.
 */
export function rootOf(chain: readonly Buffer[], authorities: readonly string[]): string | undefined {
  for (const der of chain) {
    const link = new X509Certificate(der);
    for (const authority of authorities) {
      const { cert, sha256 } = rootFrom(authority);
      if (link.checkIssued(cert) && link.verify(cert.publicKey)) return sha256;
    }
  }
  return undefined;
}

/** One entry a root, with the last expiry. */
export function liveRoots(svids: readonly LiveRoot[]): readonly LiveRoot[] {
  const last = new Map<string, number>();
  for (const { rootSha256, expiresAtMs } of svids) last.set(rootSha256, Math.max(expiresAtMs, last.get(rootSha256) ?? 0));
  return [...last].map(([rootSha256, expiresAtMs]) => ({ rootSha256, expiresAtMs }));
}

/** The sequences of bundles as they are in force. */
export function heldBundles(bundles: BundleSource): TrustFacts['held'] {
  return Object.fromEntries(bundles.all().map((b) => [b.trustDomain, b.sequence]));
}
