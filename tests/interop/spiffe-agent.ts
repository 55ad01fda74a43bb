// An agent of a running federation that serves the Workload API, its SVIDs short-lived so that a test sees them renewed.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appMain, names, portNames, smallTopology, startFederation, type TestFederation } from '@isthmus/harness';
import { formatServiceName, type ServiceName } from '@isthmus/model';

export type ServedService = { readonly service: ServiceName; readonly port: number; readonly selectors?: object };

export type SpiffeAgent = {
  readonly mesh: TestFederation;
  readonly socketPath: string;
  readonly trustDomain: string;
  readonly healthPort: number;
  close(): Promise<void>;
};

/** The life of all SVIDs here: renewed about every ten seconds. */
const SVID_TTL_MS = 20_000;

/** A trust root, the clusters east (with the agent) and west, and the agent `spiffe-1` with a file for each workload. */
export async function startSpiffeAgent(services: readonly ServedService[]): Promise<SpiffeAgent> {
  const controlPlanes = new Set(['east', 'west'].map(names.controlPlane));
  const mesh = await startFederation({
    topology: smallTopology(['east-1', 'west-1']),
    start: false,
    settings: (name) => (controlPlanes.has(name) ? { intervals: { svidTtlMs: SVID_TTL_MS } } : {}),
  });
  const { federation, supervisor, paths } = mesh;
  await federation.startTrustRoot();
  await Promise.all(mesh.topology.clusters.map((cluster) => federation.startControlPlane(cluster)));
  const directory = join(paths.root, 'spiffe-1');
  // Not beside the operators' sockets: processes of other users come to this one.
  const socketDir = mkdtempSync(join(tmpdir(), 'isthmus-api-'));
  chmodSync(socketDir, 0o755);
  const socketPath = join(socketDir, 'api.sock');
  const close = async (): Promise<void> => {
    await mesh.close();
    rmSync(socketDir, { recursive: true, force: true });
  };
  mkdirSync(join(directory, 'workloads.d'), { recursive: true });
  for (const { service, port, selectors } of services) {
    const document = { kind: 'workload', namespace: service.namespace, service: service.name, instance: 'one', ports: { http: port }, ...(selectors && { selectors }) };
    writeFileSync(join(directory, 'workloads.d', `${service.name}.yaml`), JSON.stringify(document));
  }
  const { token } = await federation.admin('east').createJoinToken({ agent: 'spiffe-1', role: 'agent', services: services.map((s) => formatServiceName(s.service)), ttlSeconds: 120 });
  const config = {
    stateDir: join(directory, 'state'),
    server: { address: `127.0.0.1:${federation.port(names.controlPlane('east'))}` },
    joinToken: token,
    network: 'east',
    adminSocket: paths.socket('spiffe-1'),
    health: { port: federation.port(portNames.health('east-1')) },
    workloadsDir: join(directory, 'workloads.d'),
    workloadApi: { socket: socketPath },
  };
  writeFileSync(paths.config('spiffe-1'), JSON.stringify(config), { mode: 0o600 });
  await supervisor.start({
    name: 'spiffe-1',
    command: process.execPath,
    args: [appMain('agent'), '--config', paths.config('spiffe-1')],
    logFile: paths.log('spiffe-1'),
    isReady: (line) => line.includes('"msg":"ready"'),
    readyLimitMs: 60_000,
  });
  return { mesh, socketPath, trustDomain: `east.${mesh.topology.federation}`, healthPort: config.health.port, close };
}
