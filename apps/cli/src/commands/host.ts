// `isthmus agent join` and `leave`: lets the agent package of this host into a federation, and takes it out again.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createSocket } from 'node:dgram';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { formatProblems } from '@isthmus/model';
import { parseToken } from '@isthmus/pki';
import { formatYaml, systemClock, writePrivateFile } from '@isthmus/runtime';
import { type CommandContext, withChannel } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { proxyApi } from '../proxy-admin.ts';

const run = promisify(execFile);
const UNIT = 'isthmus-agent.service';
const CAPTURE_UNIT = 'isthmus-agent-capture.service';
const CAPTURE_UNIT_FILE = `/usr/lib/systemd/system/${CAPTURE_UNIT}`;
const USER = 'isthmus';
const RESOLVER_FILE = '/etc/systemd/resolved.conf.d/isthmus.conf';
const WAIT_LIMIT_MS = 30_000;
const POLL_MS = 250;

/** What a join writes, before anything is written. */
type JoinPlan = { readonly agent: string; readonly cluster: string; readonly config: object; readonly configFile: string; readonly tokenFile: string; readonly token: string; readonly workloadsDir: string };

/**
 * Writes the agent's configuration and token, starts it, and waits until it has its identity. Changes nothing when an
 * argument is wrong. **Throws** CLI_BAD_INPUT, CLI_ALREADY_JOINED, CLI_TIMEOUT.
 */
export async function joinHost(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const plan = await planOf(options);
  if (existsSync(plan.configFile) && options['force'] !== true) {
    throw fail('CLI_ALREADY_JOINED', `${plan.configFile} is there already`, { hint: '--force writes it anew; `isthmus agent leave` takes this host out first', facts: { path: plan.configFile } });
  }
  // A host that cannot have the rules is told before anything is written.
  if (options['capture'] === true) await (await import('./capture.ts')).checkCapture(plan.config, options['start'] !== false);
  await write(plan);
  if (options['resolver'] === true) await writeResolver(options);
  const isStarted = options['start'] !== false && existsSync('/run/systemd/system');
  if (isStarted) {
    await run('systemctl', ['enable', '--quiet', UNIT, ...(options['capture'] === true ? [CAPTURE_UNIT] : [])]);
    // It counts as started once it has its identity: how long that is waited for is said below.
    await run('systemctl', ['restart', '--no-block', UNIT]);
    await untilJoined(String(options['stateDir']));
  }
  const { agent, cluster, configFile } = plan;
  const captured = options['capture'] === true ? `, then as root: isthmus-agent capture apply --config ${configFile}` : '';
  const next = isStarted ? 'it runs' : `start it with: isthmus-agent --config ${configFile}${captured}`;
  printOutcome(context, `${agent} is set up for cluster ${cluster}; ${next}\nworkloads go into ${plan.workloadsDir}/*.yaml`, { agent, cluster, configFile, started: isStarted });
}

/** Stops the agent and removes its configuration; with `--purge` its keys and state too. **Throws** CLI_NOT_FOUND. */
export async function leaveHost(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const configFile = join(String(options['configDir']), 'agent.yaml');
  if (!existsSync(configFile)) throw fail('CLI_NOT_FOUND', `this host has not joined: there is no ${configFile}`);
  if (existsSync('/run/systemd/system')) await run('systemctl', ['disable', '--now', ...(existsSync(CAPTURE_UNIT_FILE) ? [CAPTURE_UNIT] : []), UNIT]);
  // Nothing may lead to an agent that is gone, whoever put it there.
  if (process.getuid?.() === 0) await (await import('./capture.ts')).withoutCapture();
  for (const path of [configFile, tokenFileIn(String(options['configDir'])), RESOLVER_FILE]) await rm(path, { force: true });
  const purged = options['purge'] === true;
  if (purged) await rm(String(options['stateDir']), { recursive: true, force: true });
  printOutcome(context, `this host has left${purged ? ', its keys are gone' : '; its keys are kept, --purge removes them'}. At the cluster, \`isthmus agent remove NAME\` takes its right to come back`, { left: true, purged });
}

const tokenFileIn = (configDir: string): string => join(configDir, 'agent.token');

/** The join token of `--token` or `--token-file`, and whom it is for. **Throws** CLI_BAD_INPUT. */
export async function joinTokenOf(options: Options): Promise<{ readonly token: string; readonly agent: string; readonly cluster: string }> {
  const token = (await tokenText(options)).trim();
  const read = parseToken(token);
  if (!read.ok) throw fail('CLI_BAD_INPUT', `the token is no join token: ${formatProblems(read.problems)}`);
  const { agent, cluster } = read.value.fields;
  if (read.value.prefix !== 'ijt' || agent === undefined || cluster === undefined) {
    throw fail('CLI_BAD_INPUT', 'the token is a cluster’s bootstrap token, not a join token', { hint: '`isthmus token create AGENT --service namespace/name` makes one' });
  }
  return { token, agent, cluster };
}

async function planOf(options: Options): Promise<JoinPlan> {
  const configDir = String(options['configDir']);
  const { token, agent, cluster } = await joinTokenOf(options);
  const server = String(options['server']);
  const workloadsDir = join(configDir, 'workloads.d');
  const config = {
    stateDir: String(options['stateDir']),
    server: { address: server },
    joinTokenFile: tokenFileIn(configDir),
    network: String(options['network'] ?? agent),
    ...(typeof options['locality'] === 'string' && { locality: options['locality'] }),
    inbound: { host: typeof options['address'] === 'string' ? options['address'] : await addressTowards(server) },
    outbound: { all: true },
    ...(typeof options['callAs'] === 'string' && { identity: { callAs: options['callAs'] } }),
    dns: { host: '127.0.0.1', port: dnsPortOf(options) },
    // Where the resolver sends the zone here by itself, queries need not be taken.
    ...(options['capture'] === true && { capture: { dns: options['resolver'] !== true } }),
    workloadsDir,
  };
  return { agent, cluster, config, configFile: join(configDir, 'agent.yaml'), tokenFile: tokenFileIn(configDir), token, workloadsDir };
}

function dnsPortOf(options: Options): number {
  const port = Number(options['dnsPort']);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw fail('CLI_BAD_INPUT', `--dns-port ${String(options['dnsPort'])} is no port`);
  return port;
}

async function tokenText(options: Options): Promise<string> {
  const file = options['tokenFile'];
  if (typeof options['token'] === 'string') return options['token'];
  if (typeof file !== 'string') throw fail('CLI_BAD_INPUT', 'no token: give --token-file FILE (- for standard input) or --token TOKEN');
  if (file === '-') return text(process.stdin);
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw fail('CLI_BAD_INPUT', `the token file ${file} cannot be read`, { cause });
  });
}

/** This host's address on the way to the server: no packet is sent to learn it. */
async function addressTowards(server: string): Promise<string> {
  const at = server.lastIndexOf(':');
  const [host, port] = [server.slice(0, at), Number(server.slice(at + 1))];
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) throw fail('CLI_BAD_INPUT', `--server ${server} is no host:port`);
  const socket = createSocket('udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(port, host, resolve);
    });
    return socket.address().address;
  } catch (cause) {
    throw fail('CLI_BAD_INPUT', `there is no way from here to ${server}`, { hint: 'name this host’s address with --address', cause });
  } finally {
    socket.close();
  }
}

async function write(plan: JoinPlan): Promise<void> {
  await mkdir(plan.workloadsDir, { recursive: true, mode: 0o755 });
  await writePrivateFile(plan.tokenFile, plan.token);
  const owner = await ownerIds();
  // The agent reads its token under its own user; whoever else is there must not.
  if (owner !== undefined) await chown(plan.tokenFile, owner.uid, owner.gid);
  // Whole or not at all: where it is, this host has joined.
  const draft = `${plan.configFile}.new`;
  await writeFile(draft, `# Written by \`isthmus agent join\`; isthmus-agent --help lists every key.\n${formatYaml(plan.config)}`);
  await chmod(draft, 0o644);
  await rename(draft, plan.configFile);
}

/** The packages' user, where they are installed and this runs as root. */
async function ownerIds(): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith(`${USER}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** Sends the federation's zone, and it alone, to the agent. */
async function writeResolver(options: Options): Promise<void> {
  await mkdir('/etc/systemd/resolved.conf.d', { recursive: true });
  await writeFile(RESOLVER_FILE, `# Written by \`isthmus agent join --resolver\`.\n[Resolve]\nDNS=127.0.0.1:${dnsPortOf(options)}\nDomains=~clusterset.local\n`);
  if (existsSync('/run/systemd/system')) await run('systemctl', ['try-reload-or-restart', 'systemd-resolved.service']);
}

async function untilJoined(stateDir: string): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_LIMIT_MS;
  const socket = join(stateDir, 'admin.sock');
  for (;;) {
    const answered = existsSync(socket) && (await withChannel(socket, (channel) => proxyApi(channel).status()).then(() => true, () => false));
    if (answered) return;
    if (systemClock.monotonicMs() > deadlineMs) {
      throw fail('CLI_TIMEOUT', `the agent did not come up within ${WAIT_LIMIT_MS / 1_000} s`, { hint: `journalctl -u ${UNIT} -n 20 says why` });
    }
    await new Promise<void>((resolve) => systemClock.setTimer(POLL_MS, resolve));
  }
}
