// The run's certificates read back, in a process of ours.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type BundleSource, fixedSvidSource, makeX509Svid, openBundleSet, type SvidSource } from '@isthmus/pki';
import type { MutualTls } from '../peers/proxy-spec.ts';
import type { BundleFile } from '../system/identity.ts';

/** An SVID that never changes, from its files. */
export function svidsFrom({ certFile, keyFile }: MutualTls): SvidSource {
  const chain = readFileSync(certFile, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return fixedSvidSource(makeX509Svid(chain.map((pem) => new X509Certificate(pem).raw), createPrivateKey(readFileSync(keyFile))));
}

export function bundlesFrom({ bundle }: BundleFile): BundleSource {
  return openBundleSet([bundle]);
}
