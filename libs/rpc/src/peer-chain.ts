// The certificates a TLS peer presented, as bytes.
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { type SpiffeId, trustDomainOf } from '@isthmus/model';
import { type BundleSource, type SvidFacts, verifySvid } from '@isthmus/pki';

const MAX_CHAIN = 8;

/** The presented chain in DER, leaf first; empty when the peer presented none. */
export function presentedChain(socket: TLSSocket): readonly Buffer[] {
  const chain: Buffer[] = [];
  const seen = new Set<string>();
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined && chain.length < MAX_CHAIN) {
    if (seen.has(certificate.fingerprint256)) break;
    seen.add(certificate.fingerprint256);
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** Whether a chain that was good once is good no more, where a compromised root was revoked (reliability row 36). */
export function isRevoked(chain: readonly Buffer[], spiffeId: string, bundles: BundleSource, nowMs: number): boolean {
  if (bundles.revoked().length === 0) return false;
  return !verifySvid({ chain, bundle: bundles.get(trustDomainOf(spiffeId as SpiffeId)), nowMs }).ok;
}

/** Whether somebody good at the handshake is refused by now: banned, or of a fenced cluster, whose bundle is empty (reliability row 48). */
export function isBanned(spiffeId: SpiffeId, svid: readonly SvidFacts[], bundles: BundleSource): boolean {
  const trustDomain = trustDomainOf(spiffeId);
  return bundles.get(trustDomain)?.x509Authorities.length === 0 || bundles.bans(trustDomain)?.of(svid) !== undefined;
}
