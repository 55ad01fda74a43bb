// Certificates of a CA outside the federation, such as a company's for its machines: is this chain one of its clients, and whose?
import type { X509Certificate } from 'node:crypto';
import { type CertificateFields, readCertificate } from './certificate-fields.ts';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { OID } from './oid.ts';
import type { GeneralName } from './name-constraints.ts';
import { ANY_USAGE, DIGITAL_SIGNATURE, readChain, type Refusal, refuse, verifyPath, type VerifyRefusal } from './path.ts';
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

/** What cannot be read; everything else that is wrong with a chain is a matter of trust, or of time. */
const MALFORMED: ReadonlySet<VerifyRefusal> = new Set(['malformed', 'critical-extension', 'too-large']);

/**
 * Verifies a chain (DER, leaf first, with or without the root) up to one of `anchors`: signatures, CA flags, path
 * lengths, key usages, name constraints, validity within the clock skew, strong keys; the leaf no CA and, where it says
 * what it is for, for TLS clients. The path is judged as that of an SVID is. Source: RFC 5280 §6.1.
 */
export function verifyClientChain(request: { readonly chain: readonly Buffer[]; readonly anchors: readonly X509Certificate[]; readonly nowMs: number }): ClientVerdict {
  const read = readChain(request.chain);
  if (!read.ok) return client(read);
  const { leaf, links } = read;
  const at = { nowMs: request.nowMs, skewMs: CLOCK_SKEW_MS };
  const path = leafProblem(leaf) ?? verifyPath(links, anchorsOf(request.anchors), at, { isLentBy: isForClients, isKeyUsageAsked: false });
  return path.ok ? { ok: true, names: namesOf(leaf), certificate: leaf.cert } : client(path);
}

function client({ reason, detail }: Refusal): ClientVerdict {
  if (reason === 'expired' || reason === 'not-yet-valid') return { ok: false, reason, detail };
  return { ok: false, reason: MALFORMED.has(reason) ? 'malformed' : 'untrusted', detail };
}

function isForClients(usages: readonly string[]): boolean {
  return usages.includes(OID.clientAuth);
}

function leafProblem(leaf: CertificateFields): Refusal | undefined {
  if (leaf.basicConstraints?.isCa === true) return refuse('leaf-is-ca', 'the leaf is a CA');
  if (leaf.keyUsage !== undefined && (leaf.keyUsage.bits & DIGITAL_SIGNATURE) === 0) return refuse('key-usage', 'the leaf may not sign');
  if (leaf.extKeyUsages !== undefined && !isForClients(leaf.extKeyUsages) && !leaf.extKeyUsages.includes(ANY_USAGE)) return refuse('ext-key-usage', 'the leaf is not for clients');
  return undefined;
}

const anchorCache = new WeakMap<readonly X509Certificate[], readonly CertificateFields[]>();

/** One that cannot be read strictly is left out, so that it takes no other with it. */
function anchorsOf(certificates: readonly X509Certificate[]): readonly CertificateFields[] {
  let anchors = anchorCache.get(certificates);
  if (anchors === undefined) {
    anchors = certificates.flatMap(({ raw }) => {
      try {
        return [readCertificate(raw, true)];
      } catch {
        return [];
      }
    });
    anchorCache.set(certificates, anchors);
  }
  return anchors;
}

function namesOf({ cert, altNames }: CertificateFields): ClientNames {
  const ofForm = (form: GeneralName['form']): string[] => (altNames?.names ?? []).filter((name) => name.form === form).map((name) => name.text);
  const subject: Record<string, string | readonly string[]> = {};
  for (const [attribute, value] of Object.entries(cert.toLegacyObject().subject)) {
    if (value !== undefined) subject[attribute] = value;
  }
  return { subject, email: ofForm('email'), dns: ofForm('dns'), uri: ofForm('uri'), fingerprint: sha256Hex(cert.raw) };
}
