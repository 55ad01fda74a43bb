// One real etcd process for a cluster of the demo: mutual TLS, data in the state directory, and a clear word where the binary is missing.
import { mkdirSync } from 'node:fs';
import { fail } from '../errors.ts';
import { executableOn, type ProcessSpec } from './process.ts';

export type EtcdTls = { readonly ca: string; readonly serverCert: string; readonly serverKey: string };

/** The etcd binary on PATH. Throws CLI_ETCD_ABSENT with the way to install it. */
export function findEtcd(path: string): string {
  const file = executableOn(path, 'etcd');
  if (file !== undefined) return file;
  throw fail('CLI_ETCD_ABSENT', '--store etcd: no etcd binary on PATH', { hint: 'apt-get install etcd-server (Debian 12 and older: etcd), or use --store embedded' });
}

/**
 * The shell ends etcd when descriptor 3 closes: etcd cannot notice by itself that the demo is gone. In order it waits for
 * calls that are open, which may take long.
 */
const END_WITH_PARENT = `"$@" 3<&- & etcd=$!
trap 'kill -TERM $etcd 2>/dev/null' TERM INT
{ cat <&3; kill -TERM $etcd; sleep 3; kill -KILL $etcd; } >/dev/null 2>&1 &
wait $etcd; code=$?
kill -0 $etcd 2>/dev/null && { wait $etcd; code=$?; }
kill $! 2>/dev/null
exit $code`;

/** The process of one etcd member on loopback. */
export function etcdProcess(options: {
  readonly name: string;
  readonly binary: string;
  readonly dataDir: string;
  readonly port: number;
  readonly peerPort: number;
  /** PEM files. */
  readonly tls: EtcdTls;
  readonly logFile: string;
}): ProcessSpec {
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  const client = `https://127.0.0.1:${options.port}`;
  const peer = `http://127.0.0.1:${options.peerPort}`;
  const flags = {
    name: options.name,
    'data-dir': options.dataDir,
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `${options.name}=${peer}`,
    'cert-file': options.tls.serverCert,
    'key-file': options.tls.serverKey,
    'trusted-ca-file': options.tls.ca,
    'auto-compaction-mode': 'periodic',
    'auto-compaction-retention': '1h',
    logger: 'zap',
  };
  return {
    name: options.name,
    command: '/bin/sh',
    args: ['-c', END_WITH_PARENT, 'etcd', options.binary, '--client-cert-auth', ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)],
    logFile: options.logFile,
    isReady: (line) => line.includes('ready to serve client requests') || line.includes('serving client traffic'),
    readyLimitMs: 20_000,
  };
}
