// Starts a peer with a configuration written for one workload.
import { accessSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { openFilesLimit } from '../system/machine.ts';
import { type Running, startProgram } from '../system/running.ts';
import { envoyConfig } from './envoy.ts';
import type { Program } from './find-program.ts';
import { haproxyConfig } from './haproxy.ts';
import { nginxBackendConfig, nginxConfig, type NginxSettings } from './nginx.ts';
import type { MutualTls, ProxySpec } from './proxy-spec.ts';

export type PeerName = 'nginx' | 'haproxy' | 'envoy';
export const PEER_NAMES: readonly PeerName[] = ['nginx', 'haproxy', 'envoy'];

/** Where Debian and others put nginx's modules. */
const MODULE_FOLDERS = ['/usr/lib/nginx/modules', '/usr/lib64/nginx/modules', '/etc/nginx/modules'];

/** A command line, in the folder its files are in. */
export type Launch = { readonly path: string; readonly args: readonly string[]; readonly folder: string };

/** Writes the peer's configuration under `scratch`; gives the command that runs it and the one that only checks it. */
export function prepare(program: Program, spec: ProxySpec, scratch: string): { readonly run: Launch; readonly check: Launch } {
  const folder = mkdtempSync(join(scratch, `${program.name}-`));
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const launch = (...args: string[]): Launch => ({ path: program.path, args, folder });
  switch (program.name) {
    case 'nginx': {
      const file = write('nginx.conf', nginxConfig(spec, nginxSettings(folder)));
      return { run: launch('-p', folder, '-c', file), check: launch('-t', '-p', folder, '-c', file) };
    }
    case 'haproxy': {
      const file = write('haproxy.cfg', haproxyConfig(spec, { connections: Math.floor((openFilesLimit() - 1_000) / 2) }));
      return { run: launch('-db', '-f', file), check: launch('-c', '-f', file) };
    }
    case 'envoy': {
      const file = write('envoy.json', envoyConfig(spec));
      const shape = ['--concurrency', String(spec.threads), '--disable-hot-restart', '--log-level', 'error'];
      return { run: launch('-c', file, ...shape), check: launch('--mode', 'validate', '-c', file, ...shape) };
    }
    default:
      throw new Error(`${program.name} is no proxy`);
  }
}

export async function startPeer(program: Program, spec: ProxySpec, scratch: string): Promise<Running> {
  const { run } = prepare(program, spec, scratch);
  return startProgram({ ...run, cwd: run.folder, port: spec.listenPort });
}

/** The backend of the layer-7 workloads; `files` are what it serves, by path. */
export async function startBackend(
  program: Program,
  backend: { readonly listenPort: number; readonly version: '1.1' | '2'; readonly tls?: MutualTls; readonly files: Readonly<Record<string, Buffer>> },
  scratch: string,
): Promise<Running> {
  const folder = mkdtempSync(join(scratch, 'backend-'));
  for (const [path, bytes] of Object.entries(backend.files)) {
    mkdirSync(dirname(join(folder, 'www', path)), { recursive: true });
    writeFileSync(join(folder, 'www', path), bytes);
  }
  writeFileSync(join(folder, 'nginx.conf'), nginxBackendConfig(backend, nginxSettings(folder)));
  return startProgram({ path: program.path, args: ['-p', folder, '-c', join(folder, 'nginx.conf')], cwd: folder, port: backend.listenPort });
}

/** Started by the superuser, nginx would change to a user who may not read our folder. */
function nginxSettings(folder: string): NginxSettings {
  const modulesFolder = MODULE_FOLDERS.find((candidate) => exists(join(candidate, 'ngx_stream_module.so')));
  return { folder, openFiles: openFilesLimit(), hasDynamicStream: modulesFolder !== undefined, modulesFolder: modulesFolder ?? '', user: process.getuid?.() === 0 ? userInfo().username : undefined };
}

function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}
