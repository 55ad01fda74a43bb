// What every command is handed: where to print, in which form, and a way to the process it talks to.
import { existsSync } from 'node:fs';
import type { RpcChannel } from '@isthmus/rpc';
import type { ApiContext } from './contexts.ts';
import { fail } from './errors.ts';
import { demoPaths } from './demo/paths.ts';
import type { OutputForm } from './output/table.ts';
import type { Options } from './tree/action.ts';

/** Which kind of process a command talks to when no socket is named. `agent`, `gateway`: one of them, which over a context its cluster is asked for. */
export type Target = 'trust-root' | 'control-plane' | 'proxy' | 'agent' | 'gateway';

export interface CommandContext {
  readonly output: OutputForm;
  /** The admin API to talk to; undefined: the process's own socket. */
  readonly api: ApiContext | undefined;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly stateDir: string;
  readonly cluster: string;
  /** The socket of the command's process; `name` overrides which agent or gateway of the demo is meant. */
  socketOf(name?: string): string;
}

const INSTALLED_SOCKETS: Readonly<Record<Target, string>> = {
  'trust-root': '/var/lib/isthmus/trust-root/admin.sock',
  'control-plane': '/var/lib/isthmus/control-plane/admin.sock',
  proxy: '/var/lib/isthmus/agent/admin.sock',
  agent: '/var/lib/isthmus/agent/admin.sock',
  gateway: '/var/lib/isthmus/gateway/admin.sock',
};

/** Reads the global options; with a context, the cluster is that one's where none is named. */
export function makeContext(target: Target, options: Options, api?: ApiContext, isClusterNamed = true): CommandContext {
  const stateDir = String(options['state']);
  const cluster = api !== undefined && !isClusterNamed ? api.cluster : String(options['cluster']);
  return {
    output: options['output'] === 'json' || options['output'] === 'yaml' ? options['output'] : 'table',
    api: target === 'proxy' ? undefined : api,
    stdout: process.stdout,
    stderr: process.stderr,
    stateDir,
    cluster,
    socketOf: (name) => {
      if (typeof options['socket'] === 'string') return options['socket'];
      const process = name ?? (target === 'trust-root' ? 'trust-root' : target === 'control-plane' ? `${cluster}-control-plane` : 'vm-1');
      const [ofDemo, installed] = [demoPaths(stateDir).socket(process), INSTALLED_SOCKETS[target]];
      // On a host with the packages there is no demo, and one process of each kind.
      return (name === undefined || target === 'agent' || target === 'gateway') && !existsSync(ofDemo) && existsSync(installed) ? installed : ofDemo;
    },
  };
}

/** Opens the admin socket, runs `use` with the channel, closes it. Throws CLI_SOCKET_ABSENT where no socket is. */
export async function withChannel<T>(socket: string, use: (channel: RpcChannel) => Promise<T>): Promise<T> {
  if (!existsSync(socket)) {
    throw fail('CLI_SOCKET_ABSENT', `no admin socket at ${socket}`, {
      hint: 'start the demo with `npm start`, or name the socket with --socket or ISTHMUS_SOCKET',
      facts: { socket },
    });
  }
  const [{ openChannel }, { silentLog }] = await Promise.all([import('@isthmus/rpc'), import('@isthmus/telemetry')]);
  const channel = openChannel({ address: `unix:${socket}`, log: silentLog() });
  try {
    return await use(channel);
  } finally {
    channel.close();
  }
}
