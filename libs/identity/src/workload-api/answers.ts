// What the Workload API says of X.509 identities, made from SVIDs and bundles (SPIFFE Workload API §5).
import { type Bundle, formatServiceName, roleOf } from '@isthmus/model';
import type { X509Svid } from '@isthmus/pki';
import type { workloadApi } from '@isthmus/rpc';

/** The SVIDs of one process with their keys, and every other trust domain's bundle. */
export function x509SvidResponse(svids: readonly X509Svid[], trustDomain: string, bundles: readonly Bundle[]): workloadApi.X509SVIDResponse {
  const own = bundles.find((b) => b.trustDomain === trustDomain);
  return {
    svids: svids.map((svid) => ({
      spiffeId: svid.spiffeId,
      x509Svid: Buffer.concat(svid.chain),
      x509SvidKey: svid.key.export({ type: 'pkcs8', format: 'der' }),
      bundle: own === undefined ? Buffer.alloc(0) : authoritiesDer(own),
      hint: hintOf(svid),
    })),
    crl: [],
    federatedBundles: byTrustDomainId(bundles.filter((b) => b.trustDomain !== trustDomain)),
  };
}

/** Every bundle, by the SPIFFE ID of its trust domain. */
export function x509BundlesResponse(bundles: readonly Bundle[]): workloadApi.X509BundlesResponse {
  return { crl: [], bundles: byTrustDomainId(bundles) };
}

/** What a process with several identities tells them apart by: the service's name. */
export function hintOf({ spiffeId }: Pick<X509Svid, 'spiffeId'>): string {
  const role = roleOf(spiffeId);
  return role.kind === 'service' ? formatServiceName(role.service) : '';
}

/** In the order of trust domains, so that the same bundles make the same bytes. */
function byTrustDomainId(bundles: readonly Bundle[]): Record<string, Buffer> {
  const sorted = bundles.toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
  return Object.fromEntries(sorted.map((b) => [`spiffe://${b.trustDomain}`, authoritiesDer(b)]));
}

function authoritiesDer(bundle: Bundle): Buffer {
  return Buffer.concat(bundle.x509Authorities.map((base64) => Buffer.from(base64, 'base64')));
}
