// A signing request judged: well formed, strong, and asking for nothing but the name its caller may have.
import type { KeyObject } from 'node:crypto';
import { formatProblems, type SpiffeId } from '@isthmus/model';
import { parseCsr } from '@isthmus/pki';
import { fail } from './errors.ts';

/**
 * The public key of a signing request that names exactly `expected` or nobody; nothing else in it is used, so the
 * certificate holds server-chosen fields only (CVE-2022-40716, reliability row 41).
 * **Throws** IDENTITY_CSR_REFUSED.
 */
export function publicKeyOf(csr: Uint8Array, expected: SpiffeId): KeyObject {
  const parsed = parseCsr(Buffer.from(csr));
  if (!parsed.ok) throw fail('IDENTITY_CSR_REFUSED', `the signing request is refused: ${formatProblems(parsed.problems)}`);
  const { spiffeIds: names, dnsNames, otherNames } = parsed.value;
  if (dnsNames.length > 0) throw fail('IDENTITY_CSR_REFUSED', `the signing request names ${dnsNames.length} DNS names, none is allowed`);
  if (otherNames > 0) throw fail('IDENTITY_CSR_REFUSED', `the signing request names ${otherNames} addresses or others that are no SPIFFE ID, none is allowed`);
  if (names.length > 1) throw fail('IDENTITY_CSR_REFUSED', `the signing request names ${names.length} SPIFFE IDs, one is allowed`);
  if (names[0] !== undefined && names[0] !== expected) {
    throw fail('IDENTITY_CSR_REFUSED', `the signing request asks for another name than the caller’s`, {
      facts: { asked: names[0].slice(0, 200), allowed: expected },
    });
  }
  return parsed.value.publicKey;
}
