// Is this chain an SVID of the trust domain it claims? Short enough to read twice; every peer passes through here.
import { type Bundle, messageOf, pathOf, type SpiffeId, spiffeIds, trustDomainOf } from '@isthmus/model';
import { CertificateFault, type CertificateFields, type FieldRefusal, MAX_CERTIFICATE_BYTES, readCertificate } from './certificate-fields.ts';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { OID } from './der.ts';
import { firstForbidden, type GeneralName } from './name-constraints.ts';
import { spiffeIdIn } from './x509-svid.ts';

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

export type Verdict =
  /** `expiresAtMs`: when the first certificate of the chain, its root included, runs out. */
  | { readonly ok: true; readonly spiffeId: SpiffeId; readonly expiresAtMs: number }
  | Refusal;
type Refusal = { readonly ok: false; readonly reason: VerifyRefusal; readonly detail: string };

/** A chain is a leaf and at most this many CAs (reliability 46). */
const MAX_CHAIN = 5;

/**
 * Verifies a presented chain (DER, leaf first, with or without the root) against the bundle of the trust domain in its
 * leaf: leaf rules, signatures, CA flags and path lengths, name constraints, validity with the clock skew, and that the
 * CA that issued the leaf is itself of the leaf's trust domain. Nothing but that one bundle is trusted.
 * Source: X.509-SVID §5, RFC 5280 §6, architecture: bundles of different trust domains are never merged.
 */
export function verifySvid(request: {
  readonly chain: readonly Buffer[];
  readonly bundle: Bundle | undefined;
  readonly nowMs: number;
  readonly skewMs?: number;
}): Verdict {
  const { chain, bundle, nowMs, skewMs = CLOCK_SKEW_MS } = request;
  if (chain.length === 0) return refuse('malformed', 'a chain of no certificates');
  if (chain.length > MAX_CHAIN) return refuse('too-large', `a chain of ${chain.length} certificates, ${MAX_CHAIN} are allowed`);
  if (chain.some((der) => der.byteLength > MAX_CERTIFICATE_BYTES)) return refuse('too-large', 'a certificate is larger than 16 KiB');
  try {
    const links = chain.map((der) => readCertificate(der));
    const [leaf] = links;
    if (leaf === undefined) return refuse('malformed', 'no leaf');
    const unfit = leafProblem(leaf);
    if (unfit !== undefined) return unfit;
    const id = spiffeIdIn(leaf.altNames?.names);
    if (!id.ok) return refuse('not-an-svid', id.problems[0]?.message ?? 'no SPIFFE ID');
    if (pathOf(id.value) === '') return refuse('not-an-svid', `${id.value} names a trust domain, not a workload`);
    const trustDomain = trustDomainOf(id.value);
    if (bundle === undefined) return refuse('no-bundle', `no bundle for trust domain ${trustDomain}`);
    if (bundle.trustDomain !== trustDomain) return refuse('wrong-trust-domain', `${id.value} is not of ${bundle.trustDomain}`);
    return walk(links, anchorsOf(bundle), id.value, { nowMs, skewMs });
  } catch (error) {
    return refuse(error instanceof CertificateFault ? error.reason : 'malformed', messageOf(error));
  }
}

function refuse(reason: VerifyRefusal, detail: string): Refusal {
  return { ok: false, reason, detail };
}

type At = { readonly nowMs: number; readonly skewMs: number };

/** From the leaf upwards, each certificate under the next, until one is under a root of the bundle that may say so. */
function walk(links: readonly CertificateFields[], anchors: readonly CertificateFields[], id: SpiffeId, at: At): Verdict {
  let expiresAtMs = Infinity;
  let refusal: Refusal | undefined;
  for (const [depth, link] of links.entries()) {
    const time = timeProblem(link, at);
    if (time !== undefined) return time;
    expiresAtMs = Math.min(expiresAtMs, link.notAfterMs);
    const below = links.slice(0, depth + 1);
    // Several roots may bear one name and key: one that was renewed, say. Any that fits will do.
    for (const anchor of anchors) {
      const problem = issuanceProblem(link, anchor) ?? timeProblem(anchor, at) ?? issuerProblem(anchor, below, id);
      if (problem === undefined) return { ok: true, spiffeId: id, expiresAtMs: Math.min(expiresAtMs, anchor.notAfterMs) };
      if (problem.reason !== 'untrusted') refusal ??= problem;
    }
    const issuer = links[depth + 1];
    if (issuer === undefined) break;
    const problem = issuanceProblem(link, issuer) ?? issuerProblem(issuer, below, id);
    if (problem !== undefined) return refusal ?? problem;
  }
  return refusal ?? refuse('untrusted', 'the chain does not lead to a root of the bundle');
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

const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

/** The rules for one that signs (X.509-SVID §3.2, §4; RFC 5280 §6.1.4). `below`: what stands under it, leaf first. */
function issuerProblem(issuer: CertificateFields, below: readonly CertificateFields[], id: SpiffeId): Refusal | undefined {
  if (issuer.basicConstraints?.isCa !== true) return refuse('not-a-ca', 'a certificate in the chain is no CA');
  if (((issuer.keyUsage?.bits ?? 0) & KEY_CERT_SIGN) === 0) return refuse('not-a-ca', 'a CA in the chain may not sign certificates');
  const { pathLength } = issuer.basicConstraints;
  const casBelow = below.slice(1).filter((link) => !isSelfIssued(link)).length;
  if (pathLength !== undefined && casBelow > pathLength) return refuse('path-length', 'the chain is longer than a CA in it allows');
  // A CA that is for some purposes only lends no others to what it signs; the TLS libraries judge alike.
  if (issuer.extKeyUsages !== undefined && !isForBothSides(issuer.extKeyUsages) && !issuer.extKeyUsages.includes(ANY_USAGE)) {
    return refuse('ext-key-usage', 'a CA in the chain is not for both servers and clients');
  }
  return nameProblem(issuer, below) ?? authorityProblem(issuer, below.length === 1, id);
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

/**
 * A signing certificate's own SPIFFE ID has no path and its key usage is critical, as an SVID's is; the one that issued
 * the leaf has one, and it is the leaf's trust domain (X.509-SVID §3.2, §4.3).
 */
function authorityProblem(issuer: CertificateFields, isIssuerOfLeaf: boolean, id: SpiffeId): Refusal | undefined {
  const isNamed = issuer.altNames?.names.some((name) => name.form === 'uri') ?? false;
  if (!isNamed) return isIssuerOfLeaf ? refuse('issuer-mismatch', `the CA that issued ${id} has no SPIFFE ID`) : undefined;
  const own = spiffeIdIn(issuer.altNames?.names);
  if (!own.ok || pathOf(own.value) !== '') return refuse('issuer-mismatch', 'a CA in the chain has a name that is no trust domain');
  if (issuer.keyUsage?.isCritical !== true) return refuse('key-usage', 'the key usage of a CA in the chain is not critical');
  if (!isIssuerOfLeaf || own.value === spiffeIds.authority(trustDomainOf(id))) return undefined;
  return refuse('issuer-mismatch', `the CA that issued ${id} is not of its trust domain`);
}

const ANY_USAGE = '2.5.29.37.0';

function isForBothSides(usages: readonly string[]): boolean {
  return usages.includes(OID.serverAuth) && usages.includes(OID.clientAuth);
}

/** The rules for a leaf, but for its name (X.509-SVID §3.1, §4.1, §4.3, §4.4, §5.2). */
function leafProblem(leaf: CertificateFields): Refusal | undefined {
  if (leaf.basicConstraints?.isCa === true) return refuse('leaf-is-ca', 'the leaf is a CA');
  if (leaf.nameConstraints !== undefined) return refuse('leaf-is-ca', 'the leaf has name constraints, which are for CAs');
  if (leaf.keyUsage === undefined) return refuse('key-usage', 'the leaf has no key usage');
  const { bits, isCritical } = leaf.keyUsage;
  if (!isCritical) return refuse('key-usage', 'the key usage of the leaf is not critical');
  if ((bits & DIGITAL_SIGNATURE) === 0) return refuse('key-usage', 'the leaf may not sign handshakes');
  if ((bits & (KEY_CERT_SIGN | CRL_SIGN)) !== 0) return refuse('key-usage', 'the leaf may sign certificates or CRLs');
  if (leaf.extKeyUsages !== undefined && !isForBothSides(leaf.extKeyUsages)) return refuse('ext-key-usage', 'the leaf is not for both servers and clients');
  if (leaf.isSubjectEmpty && leaf.altNames !== undefined && !leaf.altNames.isCritical) return refuse('not-an-svid', 'the leaf has no subject, and its names are not critical');
  return undefined;
}

const anchorCache = new WeakMap<Bundle, readonly CertificateFields[]>();

/** The roots of a bundle; one that cannot be read is left out, so that it takes no other with it. */
function anchorsOf(bundle: Bundle): readonly CertificateFields[] {
  let anchors = anchorCache.get(bundle);
  if (anchors === undefined) {
    anchors = bundle.x509Authorities.flatMap((base64) => {
      try {
        return [readCertificate(Buffer.from(base64, 'base64'), true)];
      } catch {
        return [];
      }
    });
    anchorCache.set(bundle, anchors);
  }
  return anchors;
}
