// A Kubernetes control plane for tests: etcd, kube-apiserver, and kube-controller-manager's EndpointSlice controller, on loopback.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, reservePorts, waitFor } from '@isthmus/harness';
import { Agent, request } from '@isthmus/runtime/http';

/** Where a program of Kubernetes is: in ISTHMUS_KUBERNETES or on PATH; undefined where it is not. */
export function kubernetesProgram(name: 'kube-apiserver' | 'kube-controller-manager' | 'helm'): string | undefined {
  const given = process.env['ISTHMUS_KUBERNETES'];
  const built = given === undefined ? undefined : join(given, name);
  return built !== undefined && existsSync(built) ? built : findProgram(name);
}

/** Why a real API server cannot be tried here, or false. */
export const noKubernetes: string | false =
  kubernetesProgram('kube-apiserver') === undefined || findProgram('etcd') === undefined ? 'no kube-apiserver and etcd here: sh tests/interop/kubernetes/build.sh DIRECTORY, then ISTHMUS_KUBERNETES=DIRECTORY' : false;

export type KubernetesServer = {
  readonly url: string;
  readonly caFile: string;
  readonly version: string;
  /** A request as the cluster's administrator; the parsed answer. **Throws** with what the server said. */
  ask(method: string, path: string, body?: object, contentType?: string): Promise<unknown>;
  /** A kubeconfig of the user `isthmus`, who has no rights but those given. */
  kubeconfig(server?: string): string;
  /** kill -9, and a start anew on the same store; `compacted` forgets the store's history in between. */
  kill(): Promise<void>;
  restart(options?: { readonly compacted?: boolean }): Promise<void>;
  log(): string;
  close(): Promise<void>;
};

/** Named on purpose as what it is: nothing outside this machine can reach the server it is for. */
const ADMIN_TOKEN = 'admin-token-of-a-test';
const USER_TOKEN = 'user-token-of-a-test';
const START_MS = 180_000;

export async function startKubernetes(directory: string): Promise<KubernetesServer> {
  const program = kubernetesProgram('kube-apiserver') ?? 'kube-apiserver';
  const controllers = kubernetesProgram('kube-controller-manager');
  mkdirSync(directory, { recursive: true });
  const { from } = await reservePorts();
  const [etcdPort, peerPort, port] = [from, from + 1, from + 2];
  const at = (name: string): string => join(directory, name);
  execFileSync('openssl', ['genrsa', '-out', at('sa.key'), '2048'], { stdio: 'ignore' });
  execFileSync('openssl', ['rsa', '-in', at('sa.key'), '-pubout', '-out', at('sa.pub')], { stdio: 'ignore' });
  writeFileSync(at('tokens.csv'), `${ADMIN_TOKEN},admin,1,system:masters\n${USER_TOKEN},isthmus,2\n`);
  const children: ChildProcess[] = [];
  let log = '';
  const start = (name: string, args: readonly string[]): ChildProcess => {
    const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (log = (log + text).slice(-200_000)));
    children.push(child);
    return child;
  };
  const etcd = `http://127.0.0.1:${etcdPort}`;
  start('etcd', ['--data-dir', at('etcd'), '--listen-client-urls', etcd, '--advertise-client-urls', etcd, '--listen-peer-urls', `http://127.0.0.1:${peerPort}`, '--initial-advertise-peer-urls', `http://127.0.0.1:${peerPort}`, '--initial-cluster', `default=http://127.0.0.1:${peerPort}`, '--unsafe-no-fsync']);
  const flags = [
    '--etcd-servers', etcd, '--secure-port', String(port), '--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--endpoint-reconciler-type', 'none', '--cert-dir', at('certs'),
    '--service-account-issuer', 'https://kubernetes.default.svc.cluster.local', '--service-account-key-file', at('sa.pub'), '--service-account-signing-key-file', at('sa.key'),
    '--service-cluster-ip-range', '10.96.0.0/16', '--authorization-mode', 'RBAC', '--token-auth-file', at('tokens.csv'), '--disable-admission-plugins', 'ServiceAccount', '--allow-privileged',
  ];
  const caFile = join(at('certs'), 'apiserver.crt');
  const url = `https://127.0.0.1:${port}`;
  let agent: Agent | undefined;
  const ask = async (method: string, path: string, body?: object, contentType = 'application/json'): Promise<unknown> => {
    agent ??= new Agent({ connect: { ca: readFileSync(caFile, 'utf8') } });
    const answer = await request(`${url}${path}`, {
      method: method as 'GET',
      dispatcher: agent,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, accept: 'application/json, application/jwk-set+json', ...(body !== undefined && { 'content-type': contentType }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 2_000)}`);
    return text.startsWith('{') ? JSON.parse(text) : text;
  };
  let server = start(program, flags);
  const ready = async (): Promise<void> => {
    await waitFor('the API server', START_MS, async () => {
      if (server.exitCode !== null) throw new Error(`kube-apiserver ended: ${log.slice(-4_000)}`);
      return (existsSync(caFile) && (await ask('GET', '/readyz').then((text) => text === 'ok', () => false))) || undefined;
    });
  };
  const close = async (): Promise<void> => {
    await agent?.destroy();
    for (const child of children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  };
  const made: KubernetesServer = {
    url,
    caFile,
    version: '',
    ask,
    kubeconfig: (address = url) =>
      JSON.stringify({
        'current-context': 'test',
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'isthmus' } }],
        clusters: [{ name: 'test', cluster: { server: address, ...(address === url && { 'certificate-authority': caFile }) } }],
        users: [{ name: 'isthmus', user: { token: USER_TOKEN } }],
      }),
    async kill() {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    },
    async restart({ compacted = false } = {}) {
      if (compacted) {
        const status = JSON.parse(execFileSync('etcdctl', ['--endpoints', etcd, 'endpoint', 'status', '-w', 'json'], { env: { ...process.env, ETCDCTL_API: '3' } }).toString()) as readonly { readonly Status: { readonly header: { readonly revision: number } } }[];
        execFileSync('etcdctl', ['--endpoints', etcd, 'compact', String(status[0]?.Status.header.revision)], { env: { ...process.env, ETCDCTL_API: '3' } });
      }
      server = start(program, flags);
      await ready();
    },
    log: () => log,
    close,
  };
  try {
    await ready();
    const { gitVersion } = (await ask('GET', '/version')) as { readonly gitVersion: string };
    if (controllers !== undefined) {
      const admin = at('admin.kubeconfig');
      writeFileSync(admin, made.kubeconfig().replace(USER_TOKEN, ADMIN_TOKEN), { mode: 0o600 });
      start(controllers, ['--kubeconfig', admin, '--controllers', 'endpointslice-controller', '--leader-elect=false', '--secure-port', '0', '--use-service-account-credentials=false']);
    }
    return { ...made, version: gitVersion };
  } catch (error) {
    await close();
    throw error;
  }
}
