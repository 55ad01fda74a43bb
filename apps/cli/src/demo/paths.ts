// Where the demo keeps things: one directory with state, configuration, logs and sockets by process name.
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** sun_path holds 108 bytes on Linux and 104 on macOS (unix(7)); longer names fail to bind. */
const MAX_SOCKET_PATH_BYTES = 100;
const LONGEST_NAME = 'west-control-plane.sock'.length + 8;

export interface DemoPaths {
  readonly root: string;
  readonly runDir: string;
  readonly logsDir: string;
  readonly configDir: string;
  readonly tokensDir: string;
  state(name: string): string;
  config(name: string): string;
  log(name: string): string;
  token(name: string): string;
  socket(name: string): string;
}

/**
 * The paths of the demo whose state directory this is. Sockets move to a short directory under the system's temporary
 * one, named after the state directory, where their names would be too long to bind.
 */
export function demoPaths(stateDir: string): DemoPaths {
  const root = resolve(stateDir);
  const near = join(root, 'run');
  const runDir =
    Buffer.byteLength(near) + 1 + LONGEST_NAME <= MAX_SOCKET_PATH_BYTES
      ? near
      : join(tmpdir(), `isthmus-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`);
  return {
    root,
    runDir,
    logsDir: join(root, 'logs'),
    configDir: join(root, 'config'),
    tokensDir: join(root, 'tokens'),
    state: (name) => join(root, 'state', name),
    config: (name) => join(root, 'config', `${name}.yaml`),
    log: (name) => join(root, 'logs', `${name}.log`),
    token: (name) => join(root, 'tokens', name),
    socket: (name) => join(runDir, `${name}.sock`),
  };
}
