// A federation on hosts of their own: trust root, clusters and VMs, each in a network namespace, run as processes there.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { appMain, waitFor } from '@isthmus/harness';
import { admin, call, openChannel, type RpcChannel, trust } from '@isthmus/rpc';
import { silentLog } from '@isthmus/telemetry';
import { makeNetwork, type Network } from './network.ts';

const FEDERATION = 'hosts.isthmus.example';
/** The port of every gateway. */
export const GATEWAY_PORT = 15_443;
/** Where the application of a host listens, on 127.0.0.1. */
export const APP_PORT = 8_000;
/** The first inbound listener of an agent. */
export const INBOUND_PORT = 9_000;
const SAMPLE = fileURLToPath(new URL('../../apps/cli/src/demo/sample-workload.ts', import.meta.url));
const ROOT_PORT = 7_000;
const CONTROL_PLANE_PORT = 7_100;
/** Of one call to an admin socket. */
export const CALL_LIMIT = { timeoutMs: 5_000 };

/** What a program that was run to its end came to. */
export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type AgentPlan = {
  readonly cluster: string;
  /** host:port of the gateway or control plane it joins by. */
  readonly server: string;
  /** Names of services of the namespace shop. */
  readonly services: readonly string[];
  /** More of its configuration. */
  readonly config?: object;
  /** In front of its command. */
  readonly as?: readonly string[];
};

/** Hosts, and what runs on them. **Owns** the namespaces, processes and files; `close` ends them all. */
export class Hosts {
  readonly network: Network;
  readonly directory = mkdtempSync(join(tmpdir(), 'isthmus-netns-'));
  readonly #children: ChildProcess[] = [];
  readonly #channels = new Map<string, RpcChannel>();

  constructor(hosts: readonly string[], links: readonly (readonly [string, string])[]) {
    chmodSync(this.directory, 0o755); // what runs as a user of its own has its state below
    this.network = makeNetwork(hosts, links);
  }

  /** Starts a program of Node's on a host. */
  start(host: string, name: string, program: string, args: readonly string[], onLine: (line: string) => void, as: readonly string[] = []): ChildProcess {
    const [command, all] = this.network.on(host, [...as, process.execPath, program, ...args]);
    const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(this.directory, `${name}.log`), { flags: 'a' });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    createInterface({ input: child.stdout }).on('line', onLine);
    this.#children.push(child);
    return child;
  }

  /** Runs a command on a host to its end, within 30 s. */
  run(host: string, ...command: readonly string[]): Promise<Ran> {
    const [program, args] = this.network.on(host, command);
    return new Promise((resolve) => {
      execFile(program, args, { timeout: 30_000 }, (error, stdout, stderr) => resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr }));
    });
  }

  /** Starts one of the apps with its configuration and waits until it says that it is ready. */
  async startApp(host: string, name: string, app: Parameters<typeof appMain>[0], config: object, as: readonly string[] = []): Promise<ChildProcess> {
    writeFileSync(this.configFile(name), JSON.stringify({ stateDir: join(this.directory, name), adminSocket: this.#socket(name), ...config }));
    return this.startAgain(host, name, app, as);
  }

  /** The same by the configuration that is there. */
  async startAgain(host: string, name: string, app: Parameters<typeof appMain>[0], as: readonly string[] = []): Promise<ChildProcess> {
    let isReady = false;
    const child = this.start(host, name, appMain(app), ['--config', this.configFile(name)], (line) => (isReady ||= line.includes('"msg":"ready"')), as);
    await waitFor(`${name} to be ready`, 90_000, () => {
      if (child.exitCode !== null) throw new Error(this.log(name).slice(-2_000));
      return isReady ? true : undefined;
    });
    return child;
  }

  configFile = (name: string): string => join(this.directory, `${name}.yaml`);
  log = (name: string): string => readFileSync(join(this.directory, `${name}.log`), 'utf8');
  readonly #socket = (name: string): string => join(this.directory, `${name}.sock`);

  /** To the admin socket of an app. */
  channel(name: string): RpcChannel {
    let open = this.#channels.get(name);
    if (open === undefined) this.#channels.set(name, (open = openChannel({ address: `unix:${this.#socket(name)}`, log: silentLog() })));
    return open;
  }

  adminOf(cluster: string): admin.AdminClient {
    return this.channel(`${cluster}-control-plane`).client(admin.AdminClient);
  }

  async list(cluster: string, kind: string): Promise<Record<string, unknown>[]> {
    const client = this.adminOf(cluster);
    const { documents } = await call(client.list.bind(client), { kind, namespace: '', after: '', limit: 0 }, CALL_LIMIT);
    return documents.map((d) => JSON.parse(d.toString()) as Record<string, unknown>);
  }

  async startTrustRoot(): Promise<void> {
    await this.startApp('root', 'trust-root', 'trust-root', { federation: FEDERATION, listen: { host: this.network.address('root'), port: ROOT_PORT } });
  }

  /** Control plane and gateway of a cluster on the host of its name; its services are exported to all. */
  async startCluster(cluster: string, services: readonly object[]): Promise<void> {
    const host = this.network.address(cluster);
    const root = this.channel('trust-root').client(trust.TrustRootAdminClient);
    const { token } = await call(root.createClusterToken.bind(root), { cluster, ttlSeconds: 600, replace: false }, CALL_LIMIT);
    const controlPlane = `${cluster}-control-plane`;
    await this.startApp(cluster, controlPlane, 'control-plane', {
      cluster, federation: FEDERATION, locality: cluster, gateways: [`${host}:${GATEWAY_PORT}`], listen: { host, port: CONTROL_PLANE_PORT },
      trustRoot: { address: `${this.network.address('root')}:${ROOT_PORT}` }, bootstrapTokenFile: this.#tokenFile(controlPlane, token), store: { kind: 'embedded', port: 2_379 },
    });
    const client = this.adminOf(cluster);
    for (const service of services) {
      for (const document of [{ kind: 'service', namespace: 'shop', ...service }, { kind: 'export', namespace: 'shop', name: (service as { readonly name: string }).name, consumers: 'all' }]) {
        await call(client.apply.bind(client), { document: Buffer.from(JSON.stringify(document)), write: undefined }, CALL_LIMIT);
      }
    }
    const address = this.controlPlane(cluster);
    await this.startApp(cluster, `${cluster}-gateway`, 'gateway', {
      server: { address }, joinTokenFile: await this.#joinToken(cluster, `${cluster}-gateway`, 'gateway', []), network: cluster, listen: { host, port: GATEWAY_PORT },
      reserved: { 'control-plane': address, store: address, 'trust-root': `${this.network.address('root')}:${ROOT_PORT}` },
    });
  }

  controlPlane = (cluster: string): string => `${this.network.address(cluster)}:${CONTROL_PLANE_PORT}`;

  /** The application of a host. */
  startApplication(host: string): void {
    this.start(host, `${host}-app`, SAMPLE, [String(APP_PORT), host, 'payments-1'], () => undefined);
  }

  async startAgent(host: string, { cluster, server, services, config, as }: AgentPlan): Promise<ChildProcess> {
    const name = `${host}-agent`;
    const joinTokenFile = await this.#joinToken(cluster, name, 'agent', [...services.map((s) => `shop/${s}`), 'shop/web']);
    return this.startApp(host, name, 'agent', {
      server: { address: server }, network: host, locality: host, joinTokenFile,
      identity: { callAs: 'shop/web' },
      inbound: { host: this.network.address(host) },
      workloads: services.map((service, i) => ({
        kind: 'workload', namespace: 'shop', service, instance: 'payments-1', ports: { http: APP_PORT }, inbound: { http: INBOUND_PORT + i },
        healthCheck: { kind: 'http', path: '/healthz', intervalMs: 250 },
      })),
      ...config,
    }, as);
  }

  async #joinToken(cluster: string, name: string, role: string, services: string[]): Promise<string> {
    const client = this.adminOf(cluster);
    return this.#tokenFile(name, (await call(client.createJoinToken.bind(client), { agent: name, role, services, ttlSeconds: 600, write: undefined }, CALL_LIMIT)).token);
  }

  #tokenFile(name: string, token: string): string {
    const file = join(this.directory, `${name}.token`);
    writeFileSync(file, token, { mode: 0o600 });
    return file;
  }

  close(): void {
    for (const open of this.#channels.values()) open.close();
    for (const child of this.#children) child.kill('SIGKILL');
    this.network.remove();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
