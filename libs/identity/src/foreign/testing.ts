// A site for tests: a trust domain of its own federation with store, bundle endpoint and foreign trust domains, over real TLS.
import type { FederatedTrustDomain, TrustDomain } from '@isthmus/model';
import { type BundleSet, fixedSvidSource, openBundleSet } from '@isthmus/pki';
import { testAuthority, type TestAuthority } from '@isthmus/pki/testing';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openTestStore, type TestStore } from '@isthmus/store/testing';
import { type Metrics, openMetrics, silentLog } from '@isthmus/telemetry';
import { type BundleEndpointServer, serveBundleEndpoint } from './bundle-endpoint.ts';
import { type ForeignTrust, openForeignTrust } from './foreign-trust.ts';

export type TestSite = {
  readonly trustDomain: TrustDomain;
  readonly spiffeId: string;
  readonly authority: TestAuthority;
  readonly own: BundleSet;
  readonly store: TestStore;
  readonly metrics: Metrics;
  readonly endpoint: BundleEndpointServer;
  foreign(): ForeignTrust;
  /** Closes the foreign trust domains and opens them again from the store. */
  reopen(): Promise<void>;
  /** How another site declares this one. */
  declared(over?: { readonly port?: number; readonly host?: string }): FederatedTrustDomain;
  document(): Buffer;
  /** Puts the next bundle in force, of these authorities or the ones before. */
  advance(x509Authorities?: readonly string[]): void;
  close(): Promise<void>;
};

/** Starts a site whose endpoint is `https_spiffe` and says to come again every second. */
export async function startTestSite(federation: string): Promise<TestSite> {
  const authority = testAuthority({ federation });
  const { trustDomain } = authority;
  const spiffeId = `spiffe://${trustDomain}/control-plane`;
  const own = openBundleSet([{ ...authority.bundle, refreshHintSeconds: 1 }]);
  const store = await openTestStore();
  const metrics = openMetrics();
  const parts = { clock: systemClock, random: systemRandom, log: silentLog(), metrics };
  const endpoint = await serveBundleEndpoint({
    listen: { host: '127.0.0.1', port: 0 },
    proof: { profile: 'https_spiffe', svids: fixedSvidSource(authority.issue(spiffeId)) },
    trustDomain,
    bundles: own,
    ...parts,
  });
  const open = (): Promise<ForeignTrust> => openForeignTrust({ store: store.store, federation: federation as TrustDomain, own, pollFloorMs: 50, ...parts });
  let foreign = await open();
  return {
    trustDomain,
    spiffeId,
    authority,
    own,
    store,
    metrics,
    endpoint,
    foreign: () => foreign,
    async reopen() {
      await foreign.close();
      foreign = await open();
    },
    declared: ({ port = endpoint.port, host = '127.0.0.1' } = {}) => ({
      kind: 'federated-trust-domain',
      trustDomain,
      source: { profile: 'https_spiffe', url: `https://${host}:${port}/`, spiffeId },
    }),
    document: () => Buffer.from(foreign.exportBundle(trustDomain).document),
    advance(x509Authorities) {
      const before = own.get(trustDomain);
      if (before === undefined) throw new TypeError('a site has a bundle');
      own.update({ ...before, sequence: before.sequence + 1, x509Authorities: [...(x509Authorities ?? before.x509Authorities)] });
    },
    async close() {
      await foreign.close();
      await endpoint.close();
      await store.close();
    },
  };
}
