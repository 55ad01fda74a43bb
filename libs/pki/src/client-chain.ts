// Certificates of a CA outside the federation, such as a company's for its machines: is this chain one of its clients, and whose?
import { X509Certificate } from 'node:crypto';
import { messageOf } from '@isthmus/model';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { type Asn1, bytesOf, childrenOf, fromDer, isContext, OID, oidOf } from './der.ts';
import { weaknessOf } from './key.ts';
import { sha256Hex } from './x509-svid.ts';

export type ClientRefusal = 'malformed' | 'untrusted' | 'expired' | 'not-yet-valid';

/** What a client certificate says of its holder. */
export type ClientNames = {
  /** Subject attributes by their short names (`CN`, `O`, `OU`, `serialNumber`), several values as a list. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>;
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  readonly email: readonly string[];
  /** SHA-256 (hex) of the certificate. */
  readonly fingerprint: string;
};

export type ClientVerdict =
  | { readonly ok: true; readonly names: ClientNames; readonly certificate: X509Certificate }
  | { readonly ok: false; readonly reason: ClientRefusal; readonly detail: string };

const MAX_CHAIN = 6;
const MAX_CERTIFICATE_BYTES = 16 * 1024;
const MAX_NAMES = 64;
const ANY_USAGE = '2.5.29.37.0';
const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
/** Extensions understood here. Constraints of names and policies are not: a CA that has them is refused rather than taken without them. */
const UNDERSTOOD: ReadonlySet<string> = new Set([OID.basicConstraints, OID.keyUsage, OID.extKeyUsage, OID.subjectAltName, OID.subjectKeyId, OID.authorityKeyId]);

/**
 * Verifies a chain (DER, leaf first, with or without the root) up to one of `anchors`: signatures, CA flags, path
 * lengths, key usages, validity within the clock skew, strong keys; the leaf no CA and, where it says what it is for,
 * for TLS clients. Source: RFC 5280 §6.1.
 */
export function verifyClientChain(request: { readonly chain: readonly Buffer[]; readonly anchors: readonly X509Certificate[]; readonly nowMs: number }): ClientVerdict {
  const { chain, anchors, nowMs } = request;
  if (chain.length === 0 || chain.length > MAX_CHAIN) return refuse('malformed', `a chain of ${chain.length} certificates`);
  if (chain.some((der) => der.byteLength > MAX_CERTIFICATE_BYTES)) return refuse('malformed', 'a certificate is larger than 16 KiB');
  try {
    const links = chain.map(read);
    const [leaf] = links;
    if (leaf === undefined) return refuse('malformed', 'no leaf');
    const problem = leafProblem(leaf) ?? walk(links, anchors, nowMs);
    return problem ?? { ok: true, names: namesOf(leaf), certificate: leaf.cert };
  } catch (error) {
    return refuse('malformed', messageOf(error));
  }
}

type Refused = Extract<ClientVerdict, { ok: false }>;

function refuse(reason: ClientRefusal, detail: string): Refused {
  return { ok: false, reason, detail };
}

function walk(links: readonly Link[], anchors: readonly X509Certificate[], nowMs: number): Refused | undefined {
  for (const [depth, link] of links.entries()) {
    const time = timeProblem(link.cert, nowMs);
    if (time !== undefined) return time;
    const weakness = weaknessOf(link.cert.publicKey);
    if (weakness !== undefined) return refuse('untrusted', weakness);
    const anchor = anchors.find((one) => isSignedBy(link.cert, one));
    if (anchor !== undefined) return timeProblem(anchor, nowMs) ?? caProblem(read(anchor.raw), depth);
    const issuer = links[depth + 1];
    if (issuer === undefined || !isSignedBy(link.cert, issuer.cert)) break;
    const problem = caProblem(issuer, depth);
    if (problem !== undefined) return problem;
  }
  return refuse('untrusted', 'the chain does not lead to a configured CA');
}

function isSignedBy(cert: X509Certificate, issuer: X509Certificate): boolean {
  return cert.issuer === issuer.subject && cert.checkIssued(issuer) && cert.verify(issuer.publicKey);
}

function timeProblem(cert: X509Certificate, nowMs: number): Refused | undefined {
  const [from, to] = [Date.parse(cert.validFrom), Date.parse(cert.validTo)];
  if (Number.isNaN(from) || Number.isNaN(to)) return refuse('malformed', 'its validity is no time');
  if (nowMs > to + CLOCK_SKEW_MS) return refuse('expired', `a certificate ran out at ${new Date(to).toISOString()}`);
  return nowMs < from - CLOCK_SKEW_MS ? refuse('not-yet-valid', `a certificate begins at ${new Date(from).toISOString()}`) : undefined;
}

function caProblem(issuer: Link, casBelow: number): Refused | undefined {
  if (!issuer.isCa) return refuse('untrusted', 'a certificate in the chain is no CA');
  if (issuer.keyUsage !== undefined && (issuer.keyUsage & KEY_CERT_SIGN) === 0) return refuse('untrusted', 'a CA in the chain may not sign certificates');
  if (issuer.pathLength !== undefined && casBelow > issuer.pathLength) return refuse('untrusted', 'the chain is longer than a CA in it allows');
  return undefined;
}

function leafProblem(leaf: Link): Refused | undefined {
  if (leaf.isCa) return refuse('untrusted', 'the leaf is a CA');
  if (leaf.keyUsage !== undefined && (leaf.keyUsage & DIGITAL_SIGNATURE) === 0) return refuse('untrusted', 'the leaf may not sign');
  if (leaf.extKeyUsages !== undefined && !leaf.extKeyUsages.some((use) => use === OID.clientAuth || use === ANY_USAGE)) return refuse('untrusted', 'the leaf is not for clients');
  return undefined;
}

type Link = {
  readonly cert: X509Certificate;
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsage: number | undefined;
  readonly extKeyUsages: readonly string[] | undefined;
  readonly names: readonly Asn1[];
};

function read(der: Buffer): Link {
  const cert = new X509Certificate(der);
  const [tbs] = childrenOf(fromDer(der));
  const holder = childrenOf(tbs).find((item) => isContext(item, 3));
  const link: { -readonly [K in keyof Link]: Link[K] } = { cert, isCa: false, pathLength: undefined, keyUsage: undefined, extKeyUsages: undefined, names: [] };
  const seen = new Set<string>();
  for (const extension of holder === undefined ? [] : childrenOf(childrenOf(holder)[0])) {
    const parts = childrenOf(extension);
    const type = oidOf(parts[0]);
    const isCritical = parts.length === 3 && bytesOf(parts[1])[0] !== 0;
    if (seen.has(type)) throw new TypeError(`extension ${type} stands twice`);
    seen.add(type);
    if ((isCritical && !UNDERSTOOD.has(type)) || type === OID.nameConstraints) throw new TypeError(`extension ${type} is not understood`);
    const value = (): Asn1 => fromDer(bytesOf(parts.at(-1)));
    if (type === OID.basicConstraints) {
      const [ca, length] = childrenOf(value());
      link.isCa = ca !== undefined && bytesOf(ca)[0] === 0xff;
      link.pathLength = length === undefined ? undefined : bytesOf(length).readUIntBE(0, 1);
    } else if (type === OID.keyUsage) link.keyUsage = bytesOf(value())[1] ?? 0;
    else if (type === OID.extKeyUsage) link.extKeyUsages = childrenOf(value()).map(oidOf);
    else if (type === OID.subjectAltName) link.names = childrenOf(value());
  }
  return link;
}

function namesOf({ cert, names }: Link): ClientNames {
  if (names.length > MAX_NAMES) throw new TypeError(`the leaf has more than ${MAX_NAMES} names`);
  const ofTag = (tag: number): string[] => names.filter((name) => isContext(name, tag)).map((name) => bytesOf(name).toString('latin1'));
  const subject: Record<string, string | readonly string[]> = {};
  for (const [attribute, value] of Object.entries(cert.toLegacyObject().subject)) {
    if (value !== undefined) subject[attribute] = value;
  }
  return { subject, email: ofTag(1), dns: ofTag(2), uri: ofTag(6), fingerprint: sha256Hex(cert.raw) };
}
