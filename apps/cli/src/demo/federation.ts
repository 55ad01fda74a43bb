// A federation of real processes on this machine: writes each one's configuration and token, starts it, and talks to its admin socket.
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { formatServiceName, type ServiceName } from '@isthmus/model';
import { call, openChannel, trust } from '@isthmus/rpc';
import { systemClock } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { type AdminApi, adminApi } from '../admin.ts';
import { type ProxyApi, proxyApi } from '../proxy-admin.ts';
import { type RotationApi, rotationApi } from '../trust-admin.ts';
import { adminApiConfig, agentConfig, type DemoGrant, controlPlaneConfig, gatewayConfig, toYaml, trustRootConfig } from './config.ts';
import { etcdProcess, type EtcdTls, findEtcd } from './etcd.ts';
import type { DemoPaths } from './paths.ts';
import { appMain, isReadyLine, killedWithParent, type ManagedProcess, nodeProgram, type ProcessSpec, sampleWorkload } from './process.ts';
import type { Supervisor } from './supervisor.ts';
import { type AgentPlan, type ClusterPlan, names, portNames, type Ports, type Topology, type WorkloadPlan } from './topology.ts';

export type StoreKind = 'embedded' | 'etcd';

export type FederationOptions = {
  readonly topology: Topology;
  readonly ports: Ports;
  readonly paths: DemoPaths;
  readonly supervisor: Supervisor;
  readonly store: StoreKind;
  readonly readyLimitMs?: number;
  /** Starts an admin API in each cluster too. */
  readonly adminApi?: boolean;
  /** By cluster: the address others reach its gateway by, where that is not the gateway's own. */
  readonly gatewayAddresses?: Readonly<Record<string, string>>;
  /** By process: settings over the ones made here, asked for at each start. One with an `attestation` gets no token. */
  readonly settings?: (name: string) => object;
};

export interface Federation {
  readonly options: FederationOptions;
  port(name: string): number;
  startTrustRoot(): Promise<ManagedProcess>;
  /** With `--store etcd`, its etcd first. Gets a bootstrap token where the cluster has not joined yet. */
  startControlPlane(cluster: ClusterPlan): Promise<ManagedProcess>;
  startGateway(cluster: ClusterPlan): Promise<ManagedProcess>;
  /** The admin API beside a control plane; without grants the demo's operator may do everything. */
  startAdminApi(cluster: ClusterPlan, grants?: readonly DemoGrant[]): Promise<ManagedProcess>;
  startAgent(cluster: ClusterPlan, agent: AgentPlan): Promise<ManagedProcess>;
  startWorkload(cluster: ClusterPlan, workload: WorkloadPlan): Promise<ManagedProcess>;
  /** Declares the cluster's services and exports. */
  declare(cluster: ClusterPlan): Promise<void>;
  admin(cluster: string): AdminApi;
  proxy(name: string): ProxyApi;
  trustRootAdmin(): TrustRootApi;
  /** Closes the channels to admin sockets; the processes belong to the supervisor. */
  close(): void;
}

export interface TrustRootApi extends RotationApi {
  createClusterToken(cluster: string, options?: { readonly replace?: boolean; readonly ttlSeconds?: number }): Promise<string>;
  removeCluster(cluster: string): Promise<void>;
  federation(): Promise<trust.FederationView>;
}

const ADMIN_TIMEOUT_MS = 10_000;
const TOKEN_TTL_SECONDS = 600;

/** Opens a federation; nothing runs until something is started. */
export function openFederation(options: FederationOptions): Federation {
  const { paths, ports, supervisor } = options;
  for (const directory of [paths.root, paths.runDir, paths.tokensDir, paths.configDir, paths.logsDir]) mkdirSync(directory, { recursive: true, mode: 0o700 });
  const channels = new Map<string, ReturnType<typeof openChannel>>();
  const channel = (name: string): ReturnType<typeof openChannel> => {
    let open = channels.get(name);
    if (open === undefined) channels.set(name, (open = openChannel({ address: `unix:${paths.socket(name)}`, log: silentLog() })));
    return open;
  };
  const port = (name: string): number => {
    const found = ports[name];
    if (found === undefined) throw new TypeError(`no port is planned for ${name}`);
    return found;
  };
  const admin = (cluster: string): AdminApi => adminApi(channel(names.controlPlane(cluster)));
  const trustRootAdmin = (): TrustRootApi => trustRootApi(channel(names.trustRoot));

  const start = async (name: string, app: Parameters<typeof appMain>[0], config: object): Promise<ManagedProcess> => {
    writeFileSync(paths.config(name), toYaml(name, { ...config, ...options.settings?.(name) }), { mode: 0o600 });
    const child = await supervisor.start(nodeSpec(options, name, appMain(app), ['--config', paths.config(name)], NODE_FLAGS[app]));
    rmSync(paths.token(name), { force: true });
    writeFileSync(joinedMark(paths, name), '', { mode: 0o600 });
    return child;
  };
  const attestsItself = (name: string): boolean => 'attestation' in (options.settings?.(name) ?? {}) && !options.topology.clusters.some((cluster) => names.controlPlane(cluster.name) === name);
  /** Gets a token only where this process never became ready before: a second run resumes what is on disk. */
  const tokenFor = async (name: string, make: () => Promise<string>): Promise<string | undefined> => {
    if (existsSync(joinedMark(paths, name)) || attestsItself(name)) return undefined;
    writeFileSync(paths.token(name), `${await make()}\n`, { mode: 0o600 });
    return paths.token(name);
  };

  return {
    options,
    port,
    admin,
    proxy: (name) => proxyApi(channel(name)),
    trustRootAdmin,
    startTrustRoot: () => start(names.trustRoot, 'trust-root', trustRootConfig(options)),
    startControlPlane: async (cluster) => {
      const name = names.controlPlane(cluster.name);
      const [tls, tokenFile] = await Promise.all([
        options.store === 'etcd' ? startEtcd(options, cluster) : undefined,
        tokenFor(name, () => trustRootAdmin().createClusterToken(cluster.name, { replace: true })),
      ]);
      return start(name, 'control-plane', controlPlaneConfig(options, cluster, { tokenFile, etcdTls: tls }));
    },
    startGateway: async (cluster) => {
      const name = names.gateway(cluster.name);
      const tokenFile = await tokenFor(name, async () => (await admin(cluster.name).createJoinToken({ agent: name, role: 'gateway', services: [], ttlSeconds: TOKEN_TTL_SECONDS })).token);
      return start(name, 'gateway', gatewayConfig(options, cluster, tokenFile));
    },
    startAdminApi: (cluster, grants) => start(names.adminApi(cluster.name), 'admin-api', adminApiConfig(options, cluster, grants)),
    startAgent: async (cluster, agent) => {
      const services = [...(agent.workload?.services ?? []), ...(agent.callAs === undefined ? [] : [agent.callAs])].map(formatServiceName);
      const tokenFile = await tokenFor(agent.name, async () => (await admin(cluster.name).createJoinToken({ agent: agent.name, role: 'agent', services, ttlSeconds: TOKEN_TTL_SECONDS })).token);
      return start(agent.name, 'agent', agentConfig(options, cluster, agent, tokenFile));
    },
    startWorkload: (cluster, workload) => {
      const name = names.workload(cluster.name, workload.instance);
      return supervisor.start(nodeSpec(options, name, sampleWorkload(), [String(port(name)), cluster.name, workload.instance]));
    },
    declare: async (cluster) => {
      const api = admin(cluster.name);
      for (const service of cluster.services) await api.apply({ kind: 'service', ...service, ports: [{ name: 'http', port: 80, protocol: 'http' }] });
      for (const service of cluster.exports) await api.apply({ kind: 'export', ...service, consumers: 'all' });
    },
    close: () => {
      for (const open of channels.values()) open.close();
      channels.clear();
    },
  };
}

/** As in the units of these programs: their main threads make little garbage once they have started. */
const NODE_FLAGS: Readonly<Partial<Record<Parameters<typeof appMain>[0], readonly string[]>>> = { agent: ['--max-semi-space-size=2'], gateway: ['--max-semi-space-size=2'] };

function nodeSpec(options: FederationOptions, name: string, program: string, args: readonly string[], nodeFlags: readonly string[] = []): ProcessSpec {
  const start = killedWithParent(nodeProgram(program, args, nodeFlags));
  return {
    name,
    ...start,
    logFile: options.paths.log(name),
    isReady: isReadyLine,
    readyLimitMs: options.readyLimitMs ?? 30_000,
  };
}

async function startEtcd(options: FederationOptions, cluster: ClusterPlan): Promise<EtcdTls & { readonly cert: string; readonly key: string }> {
  const { paths, supervisor } = options;
  const name = names.etcd(cluster.name);
  const { makeStoreTls } = await import('@isthmus/store');
  const tls = await makeStoreTls(paths.state(`${name}-tls`), { nowMs: systemClock.nowMs() });
  const files = { ca: tls.caFile, serverCert: tls.serverCertFile, serverKey: tls.serverKeyFile, cert: tls.clientCertFile, key: tls.clientKeyFile };
  await supervisor.start(
    etcdProcess({
      name,
      binary: findEtcd(process.env['PATH'] ?? ''),
      dataDir: paths.state(name),
      port: options.ports[portNames.store(cluster.name)] ?? 0,
      peerPort: options.ports[portNames.storePeer(cluster.name)] ?? 0,
      tls: files,
      logFile: paths.log(name),
    }),
  );
  return files;
}

function trustRootApi(channel: ReturnType<typeof openChannel>): TrustRootApi {
  const client = channel.client(trust.TrustRootAdminClient);
  const limit = { timeoutMs: ADMIN_TIMEOUT_MS };
  return {
    ...rotationApi(channel),
    createClusterToken: async (cluster, { replace = false, ttlSeconds = TOKEN_TTL_SECONDS } = {}) =>
      (await call(client.createClusterToken.bind(client), { cluster, ttlSeconds, replace }, limit)).token,
    removeCluster: async (cluster) => void (await call(client.removeCluster.bind(client), { cluster }, limit)),
    federation: () => call(client.getFederation.bind(client), {}, limit),
  };
}

function joinedMark(paths: DemoPaths, name: string): string {
  return `${paths.config(name)}.joined`;
}

/** The services an agent calls, by name, with the port of its outbound listener. */
export function outboundOf(federation: Federation, agent: string, service: ServiceName): { readonly host: string; readonly port: number } {
  return { host: '127.0.0.1', port: federation.port(portNames.outbound(agent, service)) };
}
