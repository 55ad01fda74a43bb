// Is this chain an SVID of the trust domain it claims? Short enough to read twice; every peer passes through here.
import { X509Certificate } from 'node:crypto';
import { type Bundle, messageOf, type SpiffeId, spiffeIds, trustDomainOf } from '@isthmus/model';
import { type Asn1, bytesOf, childrenOf, fromDer, isContext, OID, oidOf } from './der.ts';
import { spiffeIdOf } from './x509-svid.ts';

/** Why a chain is refused. */
export type VerifyRefusal =
  | 'no-bundle'
  | 'malformed'
  | 'not-an-svid'
  | 'wrong-trust-domain'
  | 'expired'
  | 'not-yet-valid'
  | 'untrusted'
  | 'name-constraint'
  | 'issuer-mismatch';

export type Verdict =
  /** `expiresAtMs`: when the first certificate of the chain, its root included, runs out. */
  | { readonly ok: true; readonly spiffeId: SpiffeId; readonly expiresAtMs: number }
  | { readonly ok: false; readonly reason: VerifyRefusal; readonly detail: string };

/** A chain is a leaf and at most this many CAs (reliability 46). */
const MAX_CHAIN = 5;
const MAX_CERTIFICATE_BYTES = 16 * 1024;
const DEFAULT_SKEW_MS = 60_000;

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
  const { chain, bundle, nowMs, skewMs = DEFAULT_SKEW_MS } = request;
  if (chain.length === 0 || chain.length > MAX_CHAIN) return refuse('malformed', `a chain of ${chain.length} certificates`);
  if (chain.some((der) => der.byteLength > MAX_CERTIFICATE_BYTES)) return refuse('malformed', 'a certificate is larger than 16 KiB');
  try {
    const links = chain.map(read);
    const [leaf] = links;
    if (leaf === undefined) return refuse('malformed', 'no leaf');
    const leafProblem = leafRules(leaf);
    if (leafProblem !== undefined) return refuse('not-an-svid', leafProblem);
    const id = spiffeIdOf(leaf.cert);
    if (!id.ok) return refuse('not-an-svid', id.problems[0]?.message ?? 'no SPIFFE ID');
    const trustDomain = trustDomainOf(id.value);
    if (id.value === spiffeIds.authority(trustDomain)) return refuse('not-an-svid', `${id.value} names a trust domain, not a workload`);
    if (bundle === undefined) return refuse('no-bundle', `no bundle for trust domain ${trustDomain}`);
    if (bundle.trustDomain !== trustDomain) return refuse('wrong-trust-domain', `${id.value} is not of ${bundle.trustDomain}`);
    return walk(links, anchorsOf(bundle), id.value, nowMs, skewMs);
  } catch (error) {
    return refuse('malformed', messageOf(error));
  }
}

function refuse(reason: VerifyRefusal, detail: string): Verdict {
  return { ok: false, reason, detail };
}

function walk(links: readonly Link[], anchors: readonly Link[], id: SpiffeId, nowMs: number, skewMs: number): Verdict {
  let expiresAtMs = Infinity;
  for (let depth = 0; depth < links.length; depth++) {
    const link = links[depth];
    if (link === undefined) break;
    const time = timeProblem(link, nowMs, skewMs);
    if (time !== undefined) return time;
    expiresAtMs = Math.min(expiresAtMs, link.notAfterMs);
    const anchor = anchors.find((a) => isSignedBy(link, a));
    const issuer = anchor ?? links[depth + 1];
    if (issuer === undefined || !isSignedBy(link, issuer)) return refuse('untrusted', 'the chain does not lead to a root of the bundle');
    const ca = caProblem(issuer, depth);
    if (ca !== undefined) return refuse('untrusted', ca);
    if (!permits(issuer.permittedUris, id)) return refuse('name-constraint', `its issuer may not name ${id}`);
    if (depth === 0 && !isAuthorityOf(issuer, id)) {
      return refuse('issuer-mismatch', `the CA that issued ${id} is not of its trust domain`);
    }
    if (anchor !== undefined) return timeProblem(anchor, nowMs, skewMs) ?? { ok: true, spiffeId: id, expiresAtMs: Math.min(expiresAtMs, anchor.notAfterMs) };
  }
  return refuse('untrusted', 'the chain does not lead to a root of the bundle');
}

function timeProblem(link: Link, nowMs: number, skewMs: number): Verdict | undefined {
  if (nowMs > link.notAfterMs + skewMs) return refuse('expired', `a certificate ran out at ${new Date(link.notAfterMs).toISOString()}`);
  if (nowMs < link.notBeforeMs - skewMs) return refuse('not-yet-valid', `a certificate begins at ${new Date(link.notBeforeMs).toISOString()}`);
  return undefined;
}

function isSignedBy(link: Link, issuer: Link): boolean {
  return link.cert.issuer === issuer.cert.subject && link.cert.checkIssued(issuer.cert) && link.cert.verify(issuer.cert.publicKey);
}

function caProblem(issuer: Link, certificatesBelow: number): string | undefined {
  if (!issuer.isCa) return 'a certificate in the chain is no CA';
  if ((issuer.keyUsage & KEY_CERT_SIGN) === 0) return 'a CA in the chain may not sign certificates';
  if (issuer.pathLength !== undefined && certificatesBelow > issuer.pathLength) return 'the chain is longer than a CA in it allows';
  return undefined;
}

/** The issuing CA names the leaf's trust domain as its own SPIFFE ID (X.509-SVID §3.2). */
function isAuthorityOf(issuer: Link, id: SpiffeId): boolean {
  const own = spiffeIdOf(issuer.cert);
  return own.ok && own.value === spiffeIds.authority(trustDomainOf(id));
}

/** URI constraints name hosts: exactly, or with a leading dot any host below (RFC 5280 §4.2.1.10). */
function permits(constraints: readonly string[] | undefined, id: SpiffeId): boolean {
  if (constraints === undefined) return true;
  const host = trustDomainOf(id);
  return constraints.some((c) => (c.startsWith('.') ? host.endsWith(c) : host === c));
}

const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

function leafRules(leaf: Link): string | undefined {
  if (leaf.isCa) return 'the leaf is a CA';
  if ((leaf.keyUsage & DIGITAL_SIGNATURE) === 0) return 'the leaf may not sign handshakes';
  if ((leaf.keyUsage & (KEY_CERT_SIGN | CRL_SIGN)) !== 0) return 'the leaf may sign certificates or CRLs';
  if (leaf.extKeyUsages !== undefined && !(leaf.extKeyUsages.includes(OID.serverAuth) && leaf.extKeyUsages.includes(OID.clientAuth))) {
    return 'the leaf is not for both servers and clients';
  }
  return undefined;
}

/** A certificate with what the rules above ask of it. */
type Link = {
  readonly cert: X509Certificate;
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  /** First octet of the key usage bits. */
  readonly keyUsage: number;
  readonly extKeyUsages: readonly string[] | undefined;
  readonly permittedUris: readonly string[] | undefined;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

/** Extensions understood here; a critical one that is not is refused (RFC 5280 §4.2). */
const UNDERSTOOD: ReadonlySet<string> = new Set([OID.basicConstraints, OID.keyUsage, OID.extKeyUsage, OID.subjectAltName, OID.nameConstraints, OID.subjectKeyId, OID.authorityKeyId]);

function read(der: Buffer): Link {
  const cert = new X509Certificate(der);
  const [tbs] = childrenOf(fromDer(der));
  const holder = childrenOf(tbs).find((item) => isContext(item, 3));
  let isCa = false;
  let pathLength: number | undefined;
  let keyUsage = 0;
  let extKeyUsages: string[] | undefined;
  let permittedUris: string[] | undefined;
  for (const extension of holder === undefined ? [] : childrenOf(childrenOf(holder)[0])) {
    const parts = childrenOf(extension);
    const type = oidOf(parts[0]);
    const isCritical = parts.length === 3 && bytesOf(parts[1])[0] !== 0;
    if (isCritical && !UNDERSTOOD.has(type)) throw new TypeError(`critical extension ${type} is not understood`);
    const value = (): Asn1 => fromDer(bytesOf(parts.at(-1)));
    if (type === OID.basicConstraints) {
      const [ca, length] = childrenOf(value());
      isCa = ca !== undefined && bytesOf(ca)[0] === 0xff;
      pathLength = length === undefined ? undefined : bytesOf(length).readUIntBE(0, 1);
    } else if (type === OID.keyUsage) keyUsage = bytesOf(value())[1] ?? 0;
    else if (type === OID.extKeyUsage) extKeyUsages = childrenOf(value()).map(oidOf);
    else if (type === OID.nameConstraints) permittedUris = permittedIn(value());
  }
  return { cert, isCa, pathLength, keyUsage, extKeyUsages, permittedUris, notBeforeMs: timeOf(cert.validFrom), notAfterMs: timeOf(cert.validTo) };
}

/** OpenSSL keeps a time it cannot read; compared as NaN it would never be over. */
function timeOf(text: string): number {
  const atMs = Date.parse(text);
  if (Number.isNaN(atMs)) throw new TypeError('its validity is no time');
  return atMs;
}

/** The permitted URI hosts; any other kind of constraint is refused, as it could not be honoured here. */
function permittedIn(constraints: Asn1): string[] {
  const uris: string[] = [];
  for (const subtrees of childrenOf(constraints)) {
    if (!isContext(subtrees, 0)) throw new TypeError('excluded names are not understood');
    for (const subtree of childrenOf(subtrees)) {
      const [base] = childrenOf(subtree);
      if (!isContext(base, 6)) throw new TypeError('only URI name constraints are understood');
      uris.push(bytesOf(base).toString('latin1'));
    }
  }
  return uris;
}

const anchorCache = new WeakMap<Bundle, readonly Link[]>();

function anchorsOf(bundle: Bundle): readonly Link[] {
  let anchors = anchorCache.get(bundle);
  if (anchors === undefined) {
    anchors = bundle.x509Authorities.map((base64) => read(Buffer.from(base64, 'base64')));
    anchorCache.set(bundle, anchors);
  }
  return anchors;
}
