// A Workload API over a real socket, with SVIDs of a test authority that are renewed when a test says so.
import { join } from 'node:path';
import { formatServiceName, type Selectors, type ServiceName, spiffeIds } from '@isthmus/model';
import { type BundleSet, generateKey, jwtAuthorityOf, openBundleSet, signJwtSvid, type SvidSource, type X509Svid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { type Metrics, openMetrics, silentLog } from '@isthmus/telemetry';
import { testDir } from '../testing.ts';
import { startWorkloadApi, type WorkloadApi, type WorkloadApiOptions } from './workload-api.ts';

export const PAYMENTS: ServiceName = { namespace: 'shop', name: 'payments' };
export const LEDGER: ServiceName = { namespace: 'bank', name: 'ledger' };

/** What this very process is. */
export const HERE: Selectors = { uid: process.getuid?.() ?? 0 };

export type TestWorkloadApi = {
  readonly api: WorkloadApi;
  readonly socketPath: string;
  readonly metrics: Metrics;
  readonly bundles: BundleSet;
  readonly east: ReturnType<typeof testAuthority>;
  readonly west: ReturnType<typeof testAuthority>;
  /** Issues the service's next SVID. */
  rotate(service: ServiceName, over?: { readonly ttlMs?: number }): X509Svid;
  current(service: ServiceName): X509Svid | undefined;
  close(): Promise<void>;
};

type Source = SvidSource & { next(svid: X509Svid): void };

function openSource(): Source {
  const listeners = new Set<(svid: X509Svid) => void>();
  let current: X509Svid | undefined;
  return {
    current: () => current,
    onChange(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    next(svid) {
      current = svid;
      for (const fn of listeners) fn(svid);
    },
  };
}

/** Serves `payments` and `ledger` of east to whom the selectors name; `payments` has an SVID from the start. */
export async function startTestWorkloadApi(over: Partial<WorkloadApiOptions> = {}): Promise<TestWorkloadApi> {
  const dir = await testDir('wl');
  const east = testAuthority();
  const west = testAuthority({ cluster: 'west', root: east.root });
  const bundles = openBundleSet([east.bundle, west.bundle]);
  const sources = new Map<string, Source>();
  const sourceOf = (service: ServiceName): Source => {
    const name = formatServiceName(service);
    const source = sources.get(name) ?? openSource();
    sources.set(name, source);
    return source;
  };
  const rotate = (service: ServiceName, { ttlMs = 3_600_000 } = {}): X509Svid => {
    const svid = east.issue(spiffeIds.service(east.trustDomain, service), { ttlMs });
    sourceOf(service).next(svid);
    return svid;
  };
  const jwtKey = generateKey();
  const keyId = 'key-1';
  bundles.update({ ...east.bundle, sequence: 2, jwtAuthorities: [jwtAuthorityOf(jwtKey, keyId)] });
  const jwtSvid = async (service: ServiceName, audience: readonly string[]) => ({
    token: await signJwtSvid({ key: jwtKey, keyId, spiffeId: spiffeIds.service(east.trustDomain, service), audience, nowMs: systemClock.nowMs(), ttlMs: 300_000 }),
  });
  rotate(PAYMENTS);
  const metrics = openMetrics();
  const api = await startWorkloadApi({
    socketPath: join(dir.path, 'api.sock'),
    identity: { trustDomain: east.trustDomain, bundles, workloadSvids: sourceOf, jwtSvid },
    workloads: [{ service: PAYMENTS, selectors: HERE }],
    clock: systemClock,
    log: silentLog(),
    metrics,
    ...over,
  });
  return {
    api,
    socketPath: api.socketPath,
    metrics,
    bundles,
    east,
    west,
    rotate,
    current: (service) => sourceOf(service).current(),
    async close() {
      await api.close();
      await dir.remove();
    },
  };
}
