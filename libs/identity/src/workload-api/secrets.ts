// Envoy's secrets, made from SVIDs and bundles: which name stands for what, and what is sent for it.
import { createHash } from 'node:crypto';
import { type Bundle, parseSpiffeId, pathOf, quote, type SpiffeId, type TrustDomain, trustDomainOf } from '@isthmus/model';
import { generateKey, signRoot, svidToPem, toPem, type X509Svid } from '@isthmus/pki';
import { envoyTls } from '@isthmus/rpc';
import { fail } from '../errors.ts';

const TYPE_PREFIX = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.';
export const SECRET_TYPE = `${TYPE_PREFIX}Secret`;

/** What a secret's name stands for, for one caller. */
export type Wanted =
  | { readonly name: string; readonly kind: 'certificate'; readonly spiffeId: SpiffeId }
  | { readonly name: string; readonly kind: 'bundles'; readonly trustDomain: TrustDomain | 'all' };

/** What the caller may have: its identities, the default first. */
export type Holder = { readonly trustDomain: TrustDomain; readonly spiffeIds: readonly SpiffeId[] };

/**
 * `default`: the caller's first certificate; `ROOTCA`: its own trust domain; `ALL`: every trust domain; a SPIFFE ID: that
 * certificate, or, without a path, that trust domain. The names are SPIRE's.
 * **Throws** WORKLOAD_API_INVALID for any other name, WORKLOAD_API_DENIED for a certificate that is not the caller's.
 */
export function wantedOf(name: string, { trustDomain, spiffeIds }: Holder): Wanted {
  const [first] = spiffeIds;
  if (name === 'default' && first !== undefined) return { name, kind: 'certificate', spiffeId: first };
  if (name === 'ROOTCA') return { name, kind: 'bundles', trustDomain };
  if (name === 'ALL') return { name, kind: 'bundles', trustDomain: 'all' };
  const id = parseSpiffeId(name);
  if (!id.ok) throw fail('WORKLOAD_API_INVALID', `${quote(name)} names no secret`, { hint: 'default, ROOTCA, ALL, or a SPIFFE ID' });
  if (pathOf(id.value) === '') return { name, kind: 'bundles', trustDomain: trustDomainOf(id.value) };
  if (!spiffeIds.includes(id.value)) throw fail('WORKLOAD_API_DENIED', `no identity issued: ${id.value} is not the caller’s`);
  return { name, kind: 'certificate', spiffeId: id.value };
}

/** The secret as it is now; undefined while the certificate is not issued. */
export function secretOf(wanted: Wanted, svids: readonly X509Svid[], bundles: readonly Bundle[]): envoyTls.Secret | undefined {
  if (wanted.kind === 'bundles') {
    const chosen = wanted.trustDomain === 'all' ? bundles : bundles.filter((b) => b.trustDomain === wanted.trustDomain);
    return { name: wanted.name, type: { $case: 'validationContext', value: validationContext(chosen, wanted.trustDomain) } };
  }
  const svid = svids.find((s) => s.spiffeId === wanted.spiffeId);
  if (svid === undefined) return undefined;
  const { certPem, keyPem } = svidToPem(svid);
  return { name: wanted.name, type: { $case: 'tlsCertificate', value: { certificateChain: inline(certPem), privateKey: inline(keyPem) } } };
}

/** The same secrets have the same version. */
export function versionOf(secrets: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const secret of secrets) hash.update(secret);
  return hash.digest('hex').slice(0, 16);
}

/**
 * Always by Envoy's SPIFFE validator, which asks the bundle of the peer's own trust domain: bundles are not merged. Envoy
 * takes no empty bundle, and trusts everybody without any, so a trust domain that has none gets a root of nobody's.
 */
function validationContext(bundles: readonly Bundle[], asked: string): envoyTls.CertificateValidationContext {
  const trusted = bundles.filter((b) => b.x509Authorities.length > 0).toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
  const trustDomains = trusted.map((b) => ({
    name: b.trustDomain,
    trustBundle: inline(b.x509Authorities.map((base64) => toPem(Buffer.from(base64, 'base64'))).join('')),
  }));
  if (trustDomains.length === 0) trustDomains.push({ name: asked, trustBundle: inline(rootOfNobody()) });
  const value = Buffer.from(envoyTls.SPIFFECertValidatorConfig.encode({ trustDomains }).finish());
  return {
    trustedCa: undefined,
    customValidatorConfig: { name: 'envoy.tls.cert_validator.spiffe', typedConfig: { typeUrl: `${TYPE_PREFIX}SPIFFECertValidatorConfig`, value } },
  };
}

let nobodyPem: string | undefined;

/** A root whose key is thrown away as it is made: nothing chains to it. */
function rootOfNobody(): string {
  nobodyPem ??= toPem(signRoot({ key: generateKey(), federation: 'nobody.invalid' as TrustDomain, nowMs: 0, ttlMs: 3_600_000 }));
  return nobodyPem;
}

function inline(text: string): { specifier: { $case: 'inlineBytes'; value: Buffer } } {
  return { specifier: { $case: 'inlineBytes', value: Buffer.from(text) } };
}
