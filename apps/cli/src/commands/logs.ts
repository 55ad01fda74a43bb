// `isthmus logs`: the newest log lines of a program of this machine, from its own socket, and those that come.
import { existsSync } from 'node:fs';
import { messageOf } from '@isthmus/model';
import { fromServiceError, logs, type RpcChannel } from '@isthmus/rpc';
import { formatYaml } from '@isthmus/runtime';
import { type CommandContext, withChannel } from '../context.ts';
import { demoPaths } from '../demo/paths.ts';
import { fail } from '../errors.ts';
import type { Options } from '../tree/action.ts';

const MAX_LINES = 2_000;
const PROGRAMS = ['trust-root', 'control-plane', 'gateway', 'agent', 'admin-api'];
const COLOURS: Readonly<Record<string, string>> = { error: '31', warn: '33', info: '36', debug: '90' };

/** Prints them oldest first: a line each for people, an object each for programs. */
export async function showLogs(context: CommandContext, [name = 'control-plane']: readonly string[], options: Options): Promise<void> {
  const last = Number(options['last']);
  if (!Number.isInteger(last) || last < 0 || last > MAX_LINES) throw fail('CLI_BAD_INPUT', `--last: must be 0 to ${MAX_LINES}`);
  const request = { last, level: String(options['level']), follow: options['follow'] === true };
  await withChannel(socketOf(context, name, options), (channel) => print(context, channel, request));
}

async function print(context: CommandContext, channel: RpcChannel, request: logs.TailRequest): Promise<void> {
  const stream = channel.client(logs.LogsClient).tail(request);
  try {
    for await (const { line, lost } of stream as AsyncIterable<logs.LogLine>) {
      if (lost > 0n) context.stderr.write(`${lost} lines were left out: they came faster than they were read\n`);
      context.stdout.write(formatLine(line, context.output, context.stdout.isTTY === true));
    }
  } catch (error) {
    throw error instanceof Error && 'code' in error ? fromServiceError(error as Parameters<typeof fromServiceError>[0]) : error;
  }
}

/** One line in the form that is wanted. */
export function formatLine(line: string, form: CommandContext['output'], colour: boolean): string {
  if (form === 'json') return `${line}\n`;
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    return `${line} (${messageOf(error)})\n`;
  }
  if (form === 'yaml') return `---\n${formatYaml(fields)}`;
  const { time, level, msg, ...others } = fields;
  const rest = Object.entries(others).filter(([key]) => key !== 'program');
  const word = String(level).padEnd(5);
  const shown = colour ? `\x1b[${COLOURS[String(level)] ?? '0'}m${word}\x1b[0m` : word;
  return `${[String(time), shown, String(msg), ...rest.map(([key, value]) => `${key}=${JSON.stringify(value)}`)].join(' ')}\n`;
}

/** The first socket there is: of the demo by a process's name or a program's, else of the packages. **Throws** CLI_SOCKET_ABSENT. */
function socketOf(context: CommandContext, name: string, options: Options): string {
  if (typeof options['socket'] === 'string') return options['socket'];
  const demo = demoPaths(context.stateDir);
  const places = [demo.socket(name), demo.socket(`${context.cluster}-${name}`), ...(PROGRAMS.includes(name) ? [`/var/lib/isthmus/${name}/admin.sock`] : [])];
  const found = places.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw fail('CLI_SOCKET_ABSENT', `no program ${JSON.stringify(name)} runs on this machine: there is no socket at ${places.join(' or ')}`, {
    hint: `name one of ${PROGRAMS.join(', ')}, a process of the demo, or its socket with --socket; what it wrote before its last start is in the journal: journalctl -u isthmus-${name}`,
  });
}
