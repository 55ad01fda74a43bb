// Real etcd processes for tests: found on PATH, on free ports, in temporary directories, certainly ended.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '@isthmus/runtime';
import { openRaw } from './raw-client.ts';
import type { StoreTlsFiles } from './store-tls.ts';

const START_LIMIT_MS = 20_000;

/** Why tests with a real etcd cannot run here, or undefined. */
export const noEtcd: string | undefined = hasProgram('etcd') ? undefined : 'no etcd on PATH';
export const noEtcdctl: string | undefined = hasProgram('etcdctl') ? undefined : 'no etcdctl on PATH';

function hasProgram(name: string): boolean {
  try {
    execFileSync(name, name === 'etcd' ? ['--version'] : ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface EtcdMember {
  readonly endpoint: string;
  readonly process: ChildProcess;
  /** Starts it again on the same ports and directory. */
  start(): void;
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
}

export interface EtcdCluster {
  readonly endpoints: string[];
  readonly members: EtcdMember[];
  close(): Promise<void>;
}

/** Starts a cluster and waits until it answers; with TLS it does not wait, as its client does. */
export async function startEtcd(size = 1, flags: readonly string[] = [], tls?: StoreTlsFiles): Promise<EtcdCluster> {
  const directory = await mkdtemp(join(tmpdir(), 'isthmus-etcd-'));
  const ports = await freePorts(size * 2);
  const url = (port: number | undefined): string => `http://127.0.0.1:${port}`;
  const initial = Array.from({ length: size }, (_, i) => `m${i}=${url(ports[i * 2 + 1])}`).join(',');
  const members = Array.from({ length: size }, (_, i) => {
    const [plain, peer] = [url(ports[i * 2]), url(ports[i * 2 + 1])];
    const client = tls === undefined ? plain : plain.replace('http:', 'https:');
    const args = ['--name', `m${i}`, '--data-dir', join(directory, `m${i}`), '--listen-client-urls', client, '--advertise-client-urls', client];
    args.push('--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', initial, '--heartbeat-interval', '50', '--election-timeout', '500');
    if (tls !== undefined) args.push('--client-cert-auth', '--trusted-ca-file', tls.caFile, '--cert-file', tls.serverCertFile, '--key-file', tls.serverKeyFile);
    const run = (): ChildProcess => spawn('etcd', [...args, ...flags], { stdio: 'ignore' });
    let running = run();
    const member: EtcdMember = {
      endpoint: client,
      get process() {
        return running;
      },
      start: () => {
        running = run();
      },
      kill: async (signal) => {
        if (running.exitCode !== null || running.signalCode !== null) return;
        const ended = once(running, 'exit');
        running.kill(signal);
        await ended;
      },
    };
    return member;
  });
  const cluster: EtcdCluster = {
    endpoints: members.map((member) => member.endpoint),
    members,
    close: async () => {
      await Promise.all(members.map((member) => member.kill('SIGKILL')));
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    for (const member of tls === undefined ? members : []) await untilServing(member.endpoint);
  } catch (error) {
    await cluster.close();
    throw error;
  }
  return cluster;
}

async function untilServing(endpoint: string): Promise<void> {
  const end = performance.now() + START_LIMIT_MS;
  for (;;) {
    const raw = openRaw(endpoint);
    try {
      await raw.range('health');
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      raw.close();
    }
  }
}
