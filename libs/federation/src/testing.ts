// A federation of clusters in one process, each with a real store and real keys, for tests.
import { type ClusterRecord, type Digest, type Member, type ServiceName, spiffeIds } from '@isthmus/model';
import { type BundleSet, openBundleSet, signRecord, type SvidSource, type X509Svid } from '@isthmus/pki';
import { type TestAuthority, testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { openStore, type Store } from '@isthmus/store';
import { openTestStore } from '@isthmus/store/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { ExportedService } from './digest.ts';
import { type Federation, type FederationOptions, openFederation } from './federation.ts';

/** One cluster of a test: its store, keys and exports, with or without its federation running. */
export interface TestCluster {
  readonly name: string;
  readonly member: Member;
  readonly authority: TestAuthority;
  readonly store: Store;
  readonly bundles: BundleSet;
  readonly exports: Map<string, ExportedService>;
  /** Opens (or reopens) this cluster's federation. */
  open(over?: Partial<FederationOptions>): Promise<Federation>;
  /** Swaps the control plane's SVID for a new one. */
  rotate(): void;
  /** Puts a record signed by this cluster's control plane under one of its shared keys. */
  say(key: string, record: Digest | ClusterRecord | object, over?: { readonly svid?: X509Svid }): Promise<void>;
  stopStore(): Promise<void>;
  startStore(): Promise<void>;
}

/** Quick times: a peer is stale after 600 ms and presumed dead after 1.5 s. */
export const QUICK_TIMES = { heartbeatIntervalMs: 100, staleAfterMs: 600, presumedDeadAfterMs: 1_500 } as const;

/** Opens clusters that know each other's bundles and reach each other's stores. Close it at the end of the test. */
export async function openTestClusters<const N extends string>(...names: readonly N[]): Promise<{ readonly clusters: Readonly<Record<N, TestCluster>>; readonly members: Member[]; membersChanged(): void; close(): Promise<void> }> {
  const members: Member[] = names.map((cluster) => ({ cluster, trustDomain: `${cluster}.acme.example`, locality: `${cluster}/a`, gateways: [`192.0.2.1:15443`] }));
  const memberListeners = new Set<() => void>();
  const root = testAuthority().root;
  const parts = new Map<string, Awaited<ReturnType<typeof openParts>>>();
  const openParts = async (member: Member) => ({ member, stores: await openTestStore(), authority: testAuthority({ cluster: member.cluster, root }), open: new Set<Federation>() });
  for (const member of members) parts.set(member.cluster, await openParts(member));

  const makeCluster = (name: string): TestCluster => {
    const own = parts.get(name);
    if (own === undefined) throw new TypeError(`no cluster ${name}`);
    const { authority, member, stores } = own;
    const bundles = openBundleSet([...parts.values()].map((p) => p.authority.bundle));
    const exports = new Map<string, ExportedService>();
    const svids = rotatingSource(() => authority.issue(spiffeIds.controlPlane(authority.trustDomain)));
    return {
      name,
      member,
      authority,
      store: stores.store,
      bundles,
      exports,
      rotate: svids.rotate,
      open: async (over = {}) => {
        const federation = await openFederation({
          store: stores.store,
          cluster: name,
          trustDomain: member.trustDomain,
          locality: member.locality,
          gateways: () => member.gateways,
          svids,
          bundles,
          members: () => members,
          onMembers: (fn) => {
            memberListeners.add(fn);
            return () => memberListeners.delete(fn);
          },
          dialPeer: () => {
            throw new TypeError('test clusters reach each other by openPeer');
          },
          openPeer: (peer) => openTestPeer(parts.get(peer.cluster)?.stores.endpoint),
          exports: () => [...exports.values()],
          exportOf: (service: ServiceName) => exports.get(`${service.namespace}/${service.name}`),
          clock: systemClock,
          random: () => 0.5,
          log: silentLog(),
          metrics: openMetrics(),
          times: QUICK_TIMES,
          settleMs: 0,
          ...over,
        });
        own.open.add(federation);
        return federation;
      },
      say: async (key, record, over = {}) => {
        const svid = over.svid ?? svids.current();
        if (svid === undefined) throw new TypeError('a test federation always has an SVID');
        await stores.store.put(key, signRecord(Buffer.from(JSON.stringify(record)), svid));
      },
      stopStore: () => stores.stop(),
      startStore: () => stores.start(),
    };
  };
  const clusters = Object.fromEntries(names.map((name) => [name, makeCluster(name)])) as Record<N, TestCluster>;
  return {
    clusters,
    members,
    membersChanged: () => {
      for (const fn of memberListeners) fn();
    },
    close: async () => {
      await Promise.all([...parts.values()].flatMap((p) => [...p.open].map((f) => f.close())));
      await Promise.all([...parts.values()].map((p) => p.stores.close()));
    },
  };
}

/** A plain client of the peer's store in place of the channel through its gateway. */
function openTestPeer(endpoint: string | undefined): ReturnType<NonNullable<FederationOptions['openPeer']>> {
  if (endpoint === undefined) throw new TypeError('no way to that peer');
  const parts = { log: silentLog(), metrics: openMetrics(), clock: systemClock, times: { backoffMaxMs: 200, callTimeoutMs: 300 } };
  const opening = openStore({ endpoints: [endpoint], ...parts });
  return {
    store: {
      get: async (key) => (await opening).get(key),
      list: async (prefix) => (await opening).list(prefix),
      watch: async function* (prefix, options) {
        yield* (await opening).watch(prefix, options);
      },
      close: async () => (await opening).close(),
    },
    close: async () => (await opening).close(),
  };
}

function rotatingSource(issue: () => X509Svid): SvidSource & { current(): X509Svid; rotate(): void } {
  let svid = issue();
  const listeners = new Set<(svid: X509Svid) => void>();
  return {
    current: () => svid,
    onChange: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    rotate: () => {
      svid = issue();
      for (const fn of listeners) fn(svid);
    },
  };
}

/** An export to everybody with that many ready workloads of weight 100. */
export function anExport(over: { readonly name?: string; readonly ready?: number; readonly total?: number; readonly consumers?: 'all' | string[] } = {}): ExportedService {
  const { name = 'payments', ready = 1, total = ready, consumers = 'all' } = over;
  return {
    export: { kind: 'export', namespace: 'shop', name, consumers },
    service: { kind: 'service', namespace: 'shop', name, ports: [{ name: 'http', port: 8080, protocol: 'http' }] },
    readyCount: ready,
    totalCount: total,
    readyWeight: ready * 100,
  };
}
