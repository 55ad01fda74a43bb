// The certificates a TLS peer presented, as bytes.
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';

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
