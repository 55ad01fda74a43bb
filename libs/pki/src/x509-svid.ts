// An X.509-SVID in hand: chain and key together, and where it comes from while it is renewed.
import { createHash, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { formatProblems, messageOf, type Parsed, parseSpiffeId, refused, type SpiffeId } from '@isthmus/model';
import { MAX_CERTIFICATE_BYTES } from './certificate-fields.ts';
import { fail } from './errors.ts';
import { exportKeyPem } from './key.ts';
import type { GeneralName } from './name-constraints.ts';
import { toPem } from './pem.ts';

/** Chain in DER, leaf first, without the root; the key never leaves the process that made it. */
export type X509Svid = {
  readonly spiffeId: SpiffeId;
  readonly chain: readonly Buffer[];
  readonly key: KeyObject;
  readonly notBeforeMs: number;
  readonly expiresAtMs: number;
};

/** Where the current SVID is read; `current()` is undefined until there is one. */
export interface SvidSource {
  current(): X509Svid | undefined;
  /** Called with each new SVID; returns the unsubscriber. */
  onChange(fn: (svid: X509Svid) => void): () => void;
}

/** Puts a chain and its key together. **Throws** PKI_CERTIFICATE_INVALID when they do not belong together or name no SPIFFE ID. */
export function makeX509Svid(chain: readonly Buffer[], key: KeyObject): X509Svid {
  const [leaf] = chain;
  if (leaf === undefined) throw fail('PKI_CERTIFICATE_INVALID', 'the chain is empty');
  const cert = parseCertificate(leaf);
  if (!cert.publicKey.equals(createPublicKey(key))) throw fail('PKI_CERTIFICATE_INVALID', 'the certificate is not for this key');
  const id = spiffeIdOf(cert);
  if (!id.ok) throw fail('PKI_CERTIFICATE_INVALID', formatProblems(id.problems));
  return { spiffeId: id.value, chain, key, notBeforeMs: Date.parse(cert.validFrom), expiresAtMs: Date.parse(cert.validTo) };
}

/** Chain and key as PEM, for TLS. */
export function svidToPem(svid: X509Svid): { readonly certPem: string; readonly keyPem: string } {
  return { certPem: svid.chain.map(toPem).join(''), keyPem: exportKeyPem(svid.key) };
}

/** A source that never changes. */
export function fixedSvidSource(svid: X509Svid): SvidSource {
  return { current: () => svid, onChange: () => () => undefined };
}

/** The SPIFFE ID of a certificate in DER: its one URI SAN (X.509-SVID §2). */
export function trustDomainOfCert(der: Buffer): Parsed<SpiffeId> {
  if (der.byteLength > MAX_CERTIFICATE_BYTES) return refused('certificate', `is larger than ${MAX_CERTIFICATE_BYTES} bytes`);
  try {
    return spiffeIdOf(new X509Certificate(der));
  } catch {
    return refused('certificate', 'does not parse');
  }
}

/** The one URI SAN of a certificate as a SPIFFE ID. */
export function spiffeIdOf(cert: X509Certificate): Parsed<SpiffeId> {
  // Node quotes names that hold a comma or a quote; no SPIFFE ID has either, so a quoted name is refused below.
  const names = (cert.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  return oneSpiffeId(names.map((name) => name.slice('URI:'.length)));
}

/** The same of names that were read. */
export function spiffeIdIn(names: readonly GeneralName[] = []): Parsed<SpiffeId> {
  return oneSpiffeId(names.filter((name) => name.form === 'uri').map((name) => name.text));
}

/** Exactly one (X.509-SVID §2). */
function oneSpiffeId(uris: readonly string[]): Parsed<SpiffeId> {
  const [uri] = uris;
  if (uri === undefined) return refused('certificate', 'has no URI SAN');
  if (uris.length > 1) return refused('certificate', `has ${uris.length} URI SANs, one is allowed`);
  return parseSpiffeId(uri, 'certificate');
}

/** **Throws** PKI_CERTIFICATE_INVALID. */
export function parseCertificate(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw fail('PKI_CERTIFICATE_INVALID', `not a certificate in DER: ${messageOf(error)}`);
  }
}

export function sha256Hex(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
