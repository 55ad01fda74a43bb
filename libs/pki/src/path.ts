// A certification path from a leaf up to a trusted root: what holds for SVIDs and for the certificates of others alike (RFC 5280 §6.1).
import { messageOf } from '@isthmus/model';
import { CertificateFault, type CertificateFields, type FieldRefusal, MAX_CERTIFICATE_BYTES, readCertificate } from './certificate-fields.ts';
import { firstForbidden, type GeneralName } from './name-constraints.ts';

/** Why a chain is refused. */
export type VerifyRefusal =
  | FieldRefusal
  | 'too-large'
  /** The leaf: its name, key usage, extended key usage, or that it is a CA. */
  | 'not-an-svid'
  | 'leaf-is-ca'
  | 'key-usage'
  | 'ext-key-usage'
  | 'no-bundle'
  | 'wrong-trust-domain'
  | 'expired'
  | 'not-yet-valid'
  /** No root of the bundle stands above; `bad-signature`: the key that the chain names by its identifier did not sign. */
  | 'untrusted'
  | 'bad-signature'
  /** A certificate that signed others and may not, or not so many below it. */
  | 'not-a-ca'
  | 'path-length'
  | 'name-constraint'
  | 'issuer-mismatch';

export type Refusal = { readonly ok: false; readonly reason: VerifyRefusal; readonly detail: string };

/** A chain is a leaf and at most this many CAs (reliability 46). */
const MAX_CHAIN = 5;

export function refuse(reason: VerifyRefusal, detail: string): Refusal {
  return { ok: false, reason, detail };
}

/** A presented chain (DER, leaf first), each certificate read; refused by its size before anything is read. */
export function readChain(chain: readonly Buffer[]): { readonly ok: true; readonly leaf: CertificateFields; readonly links: readonly CertificateFields[] } | Refusal {
  if (chain.length === 0) return refuse('malformed', 'a chain of no certificates');
  if (chain.length > MAX_CHAIN) return refuse('too-large', `a chain of ${chain.length} certificates, ${MAX_CHAIN} are allowed`);
  if (chain.some((der) => der.byteLength > MAX_CERTIFICATE_BYTES)) return refuse('too-large', 'a certificate is larger than 16 KiB');
  try {
    const links = chain.map((der) => readCertificate(der));
    const [leaf] = links;
    return leaf === undefined ? refuse('malformed', 'no leaf') : { ok: true, leaf, links };
  } catch (error) {
    return refuse(error instanceof CertificateFault ? error.reason : 'malformed', messageOf(error));
  }
}

export type At = { readonly nowMs: number; readonly skewMs: number };

/** Where SVIDs and others differ. */
export type PathRules = {
  /** Whether a CA that is for these purposes only may sign for the one in question. */
  readonly isLentBy: (usages: readonly string[]) => boolean;
  /** A CA must say that it may sign certificates; else it must only not say that it may not (RFC 5280 §6.1.4 n). */
  readonly isKeyUsageAsked: boolean;
  /** Further rules for one that signs. */
  readonly issuerProblem?: (issuer: CertificateFields, isIssuerOfLeaf: boolean) => Refusal | undefined;
};

/** From the leaf upwards, each certificate under the next, until one is under an anchor that may say so. `expiresAtMs`: when the first of them, the anchor included, runs out. */
export function verifyPath(links: readonly CertificateFields[], anchors: readonly CertificateFields[], at: At, rules: PathRules): { readonly ok: true; readonly expiresAtMs: number } | Refusal {
  let expiresAtMs = Infinity;
  let refusal: Refusal | undefined;
  for (const [depth, link] of links.entries()) {
    const time = timeProblem(link, at);
    if (time !== undefined) return time;
    expiresAtMs = Math.min(expiresAtMs, link.notAfterMs);
    const below = links.slice(0, depth + 1);
    // Several roots may bear one name and key: one that was renewed, say. Any that fits will do.
    for (const anchor of anchors) {
      const problem = issuanceProblem(link, anchor) ?? timeProblem(anchor, at) ?? issuerProblem(anchor, below, rules);
      if (problem === undefined) return { ok: true, expiresAtMs: Math.min(expiresAtMs, anchor.notAfterMs) };
      if (problem.reason !== 'untrusted') refusal ??= problem;
    }
    const issuer = links[depth + 1];
    if (issuer === undefined) break;
    const problem = issuanceProblem(link, issuer) ?? issuerProblem(issuer, below, rules);
    if (problem !== undefined) return refusal ?? problem;
  }
  return refusal ?? refuse('untrusted', 'the chain does not lead to a root that is trusted for it');
}

function timeProblem(link: CertificateFields, { nowMs, skewMs }: At): Refusal | undefined {
  if (nowMs > link.notAfterMs + skewMs) return refuse('expired', `a certificate ran out at ${new Date(link.notAfterMs).toISOString()}`);
  if (nowMs < link.notBeforeMs - skewMs) return refuse('not-yet-valid', `a certificate begins at ${new Date(link.notBeforeMs).toISOString()}`);
  return undefined;
}

/** Whether `issuer` issued `link`: by name, by key identifiers where they have them, and by signature (RFC 5280 §6.1.3). */
function issuanceProblem(link: CertificateFields, issuer: CertificateFields): Refusal | undefined {
  const { keyId, serial } = link.authorityKeyId ?? {};
  const isMeant = keyId === undefined || issuer.subjectKeyId === undefined || keyId.equals(issuer.subjectKeyId);
  const isNamed = link.issuer.value.equals(issuer.subject.value) && !issuer.isSubjectEmpty;
  if (!isNamed || !isMeant || (serial !== undefined && !serial.equals(issuer.serial))) return refuse('untrusted', 'a certificate of the chain was not issued by the next');
  if (link.cert.verify(issuer.publicKey)) return undefined;
  // A name alone may be another's too, such as that of the root before: only with its key identifier is a key surely meant.
  return keyId === undefined || issuer.subjectKeyId === undefined
    ? refuse('untrusted', 'no certificate of that name signed one of the chain')
    : refuse('bad-signature', 'a signature in the chain does not hold');
}

export const DIGITAL_SIGNATURE = 0x80;
export const KEY_CERT_SIGN = 0x04;
export const CRL_SIGN = 0x02;
export const ANY_USAGE = '2.5.29.37.0';

/** The rules for one that signs (RFC 5280 §6.1.4). `below`: what stands under it, leaf first. */
function issuerProblem(issuer: CertificateFields, below: readonly CertificateFields[], rules: PathRules): Refusal | undefined {
  if (issuer.basicConstraints?.isCa !== true) return refuse('not-a-ca', 'a certificate in the chain is no CA');
  const usage = issuer.keyUsage?.bits ?? (rules.isKeyUsageAsked ? 0 : KEY_CERT_SIGN);
  if ((usage & KEY_CERT_SIGN) === 0) return refuse('not-a-ca', 'a CA in the chain may not sign certificates');
  const { pathLength } = issuer.basicConstraints;
  const casBelow = below.slice(1).filter((link) => !isSelfIssued(link)).length;
  if (pathLength !== undefined && casBelow > pathLength) return refuse('path-length', 'the chain is longer than a CA in it allows');
  // A CA that is for some purposes only lends no others to what it signs; the TLS libraries judge alike.
  if (issuer.extKeyUsages !== undefined && !rules.isLentBy(issuer.extKeyUsages) && !issuer.extKeyUsages.includes(ANY_USAGE)) {
    return refuse('ext-key-usage', 'a CA in the chain is not for what its leaf is used for');
  }
  return nameProblem(issuer, below) ?? rules.issuerProblem?.(issuer, below.length === 1);
}

function isSelfIssued(link: CertificateFields): boolean {
  return link.issuer.value.equals(link.subject.value);
}

/** Constraints hold for all names below, of CAs too, save those that a CA issued to itself (RFC 5280 §6.1.3 b, c). */
function nameProblem(issuer: CertificateFields, below: readonly CertificateFields[]): Refusal | undefined {
  const { nameConstraints } = issuer;
  if (nameConstraints === undefined) return undefined;
  for (const [depth, link] of below.entries()) {
    if (depth > 0 && isSelfIssued(link)) continue;
    const subject: GeneralName[] = link.isSubjectEmpty ? [] : [{ form: 'directory', text: '', octets: link.subject.value }];
    const forbidden = firstForbidden(nameConstraints, [...(link.altNames?.names ?? []), ...subject]);
    if (forbidden !== undefined) return refuse('name-constraint', `its issuer may not name ${forbidden.text === '' ? `that ${forbidden.form} name` : forbidden.text}`);
  }
  return undefined;
}
