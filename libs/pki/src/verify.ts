// Is this chain an SVID of the trust domain it claims? Short enough to read twice; every peer passes through here.
import { type Bundle, messageOf, pathOf, type SpiffeId, spiffeIds, trustDomainOf } from '@isthmus/model';
import { CertificateFault, type CertificateFields, readCertificate } from './certificate-fields.ts';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { OID } from './oid.ts';
import { CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN, readChain, type Refusal, refuse, verifyPath } from './path.ts';
import { spiffeIdIn } from './x509-svid.ts';

export type Verdict =
  /** `expiresAtMs`: when the first certificate of the chain, its root included, runs out. */
  | { readonly ok: true; readonly spiffeId: SpiffeId; readonly expiresAtMs: number }
  | Refusal;

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
  const read = readChain(chain);
  if (!read.ok) return read;
  const { leaf, links } = read;
  try {
    const unfit = leafProblem(leaf);
    if (unfit !== undefined) return unfit;
    const id = spiffeIdIn(leaf.altNames?.names);
    if (!id.ok) return refuse('not-an-svid', id.problems[0]?.message ?? 'no SPIFFE ID');
    if (pathOf(id.value) === '') return refuse('not-an-svid', `${id.value} names a trust domain, not a workload`);
    const trustDomain = trustDomainOf(id.value);
    if (bundle === undefined) return refuse('no-bundle', `no bundle for trust domain ${trustDomain}`);
    if (bundle.trustDomain !== trustDomain) return refuse('wrong-trust-domain', `${id.value} is not of ${bundle.trustDomain}`);
    const issuerProblem = (issuer: CertificateFields, isIssuerOfLeaf: boolean): Refusal | undefined => authorityProblem(issuer, isIssuerOfLeaf, id.value);
    const path = verifyPath(links, anchorsOf(bundle), { nowMs, skewMs }, { isLentBy: isForBothSides, isKeyUsageAsked: true, issuerProblem });
    return path.ok ? { ok: true, spiffeId: id.value, expiresAtMs: path.expiresAtMs } : path;
  } catch (error) {
    return refuse(error instanceof CertificateFault ? error.reason : 'malformed', messageOf(error));
  }
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
