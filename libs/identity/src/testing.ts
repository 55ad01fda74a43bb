// A trust root and clusters in this process, over real sockets, for tests.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrustDomain } from '@isthmus/model';
import { call, openChannel, type RpcChannel, type RpcServer, startRpcServer, trust } from '@isthmus/rpc';
import { type Clock, systemClock, systemRandom } from '@isthmus/runtime';
import { type Log, openMetrics, silentLog } from '@isthmus/telemetry';
import { openTestStore } from '@isthmus/store/testing';
import type { Authority, AuthorityOptions } from './authority/authority.ts';
import { openAuthority } from './authority/cluster-authority.ts';
import type { Bans } from './issuance/bans.ts';
import { type Issuance, type IssuanceOptions, openClusterBans, serveIssuance } from './issuance/issuance.ts';
import type { ProxyTrust } from './authority/trust-report.ts';
import { openTrustRoot, type TrustRoot } from './trust-root/trust-root.ts';

export const FEDERATION = 'acme.example' as TrustDomain;

/** A folder that is gone when the test is. */
export async function testDir(name: string): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), `isthmus-${name}-`));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** A log whose lines are kept as JSON of message and fields. */
export function recordingLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const note = (message: string, fields?: object): void => void lines.push(JSON.stringify([message, fields]));
  const log: Log = { ...silentLog(), error: note, warn: note, info: note, debug: note, with: () => log };
  return { log, lines };
}

export type TestTrustRoot = {
  readonly root: TrustRoot;
  readonly port: number;
  readonly address: string;
  readonly admin: trust.TrustRootAdminClient;
  token(cluster: string, over?: { readonly ttlSeconds?: number; readonly replace?: boolean }): Promise<string>;
  close(): Promise<void>;
};

/** A trust root on loopback; give `port` to come back where an earlier one was. */
export async function startTestTrustRoot(stateDir: string, over: Partial<Parameters<typeof openTrustRoot>[0]> & { readonly port?: number } = {}): Promise<TestTrustRoot> {
  const { port: wanted = 0, ...options } = over;
  const log = over.log ?? silentLog();
  const root = await openTrustRoot({ stateDir, federation: FEDERATION, clock: systemClock, random: systemRandom, log, ...options });
  const server = await startRpcServer({ listen: { host: '127.0.0.1', port: wanted }, svids: root.svids, bundles: root.bundles, services: [root.service, root.remote], log });
  const unixPath = join(stateDir, 'admin.sock');
  const operators = await startRpcServer({ listen: { unixPath }, services: [root.admin], log });
  const channel = openChannel({ address: `unix:${unixPath}`, log });
  const admin = channel.client(trust.TrustRootAdminClient);
  return {
    root,
    port: server.port,
    address: `127.0.0.1:${server.port}`,
    admin,
    async token(cluster, { ttlSeconds = 0, replace = false } = {}) {
      const made = await call<trust.CreateClusterTokenRequest, trust.CreateClusterTokenResponse>(admin.createClusterToken.bind(admin), { cluster, ttlSeconds, replace }, { timeoutMs: 5_000 });
      return made.token;
    },
    async close() {
      channel.close();
      await root.close();
      await Promise.all([server.close(200), operators.close(200)]);
    },
  };
}

export type TestCluster = {
  readonly authority: Authority;
  readonly issuance: Issuance;
  readonly bans: Bans;
  readonly store: Awaited<ReturnType<typeof openTestStore>>;
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
};

/** A cluster's authority and issuance on loopback, with a store of its own or the one given. */
export async function startTestCluster(
  stateDir: string,
  options: Pick<AuthorityOptions, 'cluster' | 'trustRoot' | 'token'> &
    Partial<AuthorityOptions> & { readonly port?: number; readonly rate?: IssuanceOptions['rate']; readonly attestation?: IssuanceOptions['attestation']; readonly queue?: IssuanceOptions['queue']; readonly store?: TestCluster['store']; readonly proxies?: () => Promise<readonly ProxyTrust[]>; readonly clock?: Clock; readonly log?: Log },
): Promise<TestCluster> {
  const { port: wanted = 0, rate, attestation, queue, store: given, ...over } = options;
  const [clock, log] = [over.clock ?? systemClock, over.log ?? silentLog()];
  const authority = await openAuthority({
    stateDir,
    federation: FEDERATION,
    self: { locality: 'eu/a', gateways: ['127.0.0.1:15443'] },
    random: systemRandom,
    ...over,
    clock,
    log,
  });
  authority.reportTrust(over.proxies ?? (async () => []));
  const store = given ?? (await openTestStore());
  const bans = await openClusterBans({ authority, store: store.store, cluster: options.cluster, clock, log, metrics: openMetrics() });
  const issuance = serveIssuance({ authority, store: store.store, cluster: options.cluster, clock, log, metrics: openMetrics(), attestation, queue, bans, ...(rate && { rate }) });
  const server: RpcServer = await startRpcServer({ listen: { host: '127.0.0.1', port: wanted }, svids: authority.svids, bundles: authority.bundles, services: [issuance], log });
  return {
    authority,
    issuance,
    bans,
    store,
    address: `127.0.0.1:${server.port}`,
    port: server.port,
    async close() {
      await bans.close();
      await issuance.close();
      await authority.close();
      await server.close(200);
      if (given === undefined) await store.close();
    },
  };
}

export type { RpcChannel };

/** Resolves when `holds` does, asked every 10 ms; rejects after `limitMs`. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, limitMs = 10_000): Promise<void> {
  const endMs = systemClock.monotonicMs() + limitMs;
  while (!(await holds())) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`not in ${limitMs} ms: ${what}`);
    await systemClock.sleep(10);
  }
}

export { startTestIssuer, type TestIssuer } from './attest/testing-issuer.ts';
