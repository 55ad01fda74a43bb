// `isthmus agent capture`: the root's part of transparent capture, so that the agent itself needs no right over the network.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { type CapturePlan, captureRules, captureSchema, captureTable, CAPTURE_TABLE, isAnsweringIn, planCapture, removalRules } from '@isthmus/dataplane';
import { compileSchema, formatProblems, messageOf, type Static, Type } from '@isthmus/model';
import { loadConfig } from '@isthmus/runtime';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';

/** The part of the agent's configuration that the rules are made from; the agent itself checks the rest. */
const viewSchema = Type.Object({
  outbound: Type.Optional(Type.Object({ all: Type.Optional(Type.Boolean()), addressRange: Type.Optional(Type.String()) })),
  inbound: Type.Optional(Type.Object({ host: Type.Optional(Type.String()) })),
  dns: Type.Optional(Type.Object({ port: Type.Integer({ minimum: 0, maximum: 65_535 }) })),
  capture: Type.Optional(captureSchema),
});

type View = Static<typeof viewSchema>;

/** nft reads and writes the kernel's tables at once; what takes longer hangs. */
const NFT_LIMIT_MS = 20_000;

/**
 * Puts the rules in force in one transaction, in place of those that were; removes them where the configuration has no
 * `capture`. With `--dry-run` the kernel checks them and nothing changes. **Throws** CLI_CAPTURE, CONFIG_INVALID,
 * DATAPLANE_CAPTURE_INVALID.
 */
export async function applyCapture(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const plan = await planOf(options);
  if (plan === undefined) return removeCapture(context);
  const rules = captureRules(plan, { isAnswering: await isAnswering() });
  if (options['dryRun'] === true) {
    await nft(['-c', '-f', '-'], rules);
    return printOutcome(context, `${rules}# the kernel takes these rules; nothing was changed`, { dryRun: true, rules });
  }
  await nft(['-f', '-'], rules);
  printOutcome(context, `capture is in force: ${describe(plan)}`, { inForce: true, ...plan });
}

/** Removes every rule; there need not be any. **Throws** CLI_CAPTURE. */
export async function removeCapture(context: CommandContext): Promise<void> {
  await nft(['-f', '-'], removalRules());
  printOutcome(context, 'no capture rule is left', { inForce: false });
}

/** Prints the rules of the configuration, without looking at or changing those of the machine. **Throws** as `apply`. */
export async function showCapture(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const plan = await planOf(options);
  if (plan === undefined) return printOutcome(context, `capture is off: ${String(options['config'])} has no key capture`, { configured: false });
  const rules = captureTable(plan);
  printOutcome(context, rules.trimEnd(), { configured: true, rules });
}

/** Whether a configuration's rules can be made here, and with `asksKernel` whether the kernel takes them. Changes nothing. **Throws** as `apply`. */
export async function checkCapture(config: object, asksKernel: boolean): Promise<void> {
  const plan = await planFor(parseView(config));
  if (plan !== undefined && asksKernel) await nft(['-c', '-f', '-'], captureRules(plan));
}

/** Whether the machine has any of our rules; undefined where this cannot be told. */
export async function hasCaptureRules(): Promise<boolean | undefined> {
  return nft(['list', 'table', 'inet', CAPTURE_TABLE]).then(() => true, (error: unknown) => (/No such file/.test(messageOf(error)) ? false : undefined));
}

/** Removes every rule as part of something else; a machine without nft has none. **Throws** CLI_CAPTURE. */
export async function withoutCapture(): Promise<void> {
  if ((await hasCaptureRules()) === true) await nft(['-f', '-'], removalRules());
}

/** Whether the rules in force take queries now. */
async function isAnswering(): Promise<boolean> {
  return nft(['list', 'set', 'inet', CAPTURE_TABLE, 'answering']).then(isAnsweringIn, () => false);
}

async function planOf(options: Options): Promise<CapturePlan | undefined> {
  return planFor(loadConfig({ program: 'agent', schema: viewSchema, argv: ['--config', String(options['config'])], env: {} }));
}

const isView = compileSchema(viewSchema);

function parseView(config: object): View {
  const read = isView(config);
  if (!read.ok) throw fail('CLI_CAPTURE', `the configuration is wrong: ${formatProblems(read.problems)}`);
  return read.value;
}

async function planFor(config: View): Promise<CapturePlan | undefined> {
  const { capture, outbound } = config;
  if (capture === undefined) return undefined;
  if (outbound?.all !== true) throw fail('CLI_CAPTURE', 'capture needs outbound.all: true, which gives every service an address');
  return planCapture(capture, {
    addressRange: outbound.addressRange,
    dnsPort: config.dns?.port,
    inboundHost: config.inbound?.host,
    uid: await uidOf(capture.user ?? 'isthmus'),
    resolvConf: await readFile('/etc/resolv.conf', 'utf8').catch(() => ''),
    ownAddresses: Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)),
  });
}

async function uidOf(user: string): Promise<number> {
  if (/^[0-9]+$/.test(user)) return Number(user);
  const line = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n').find((entry) => entry.startsWith(`${user}:`));
  const uid = Number(line?.split(':')[2] ?? Number.NaN);
  if (!Number.isInteger(uid)) throw fail('CLI_CAPTURE', `there is no user ${user} on this machine, as whom the agent would run`, { hint: 'the package isthmus-agent makes it; name another with capture.user' });
  return uid;
}

function describe({ range, port, dns, inbound }: CapturePlan): string {
  return [
    `TCP to ${range.text} goes to 127.0.0.1:${port}`,
    ...(dns === undefined ? [] : [`queries to ${dns.nameservers.join(', ')} go to port ${dns.port} while the agent lives`]),
    ...inbound.map((rule) => `port ${rule.port} from outside goes to ${rule.to}`),
  ].join('; ');
}

/** Runs nft, and says what its errors mean. */
async function nft(args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile('nft', args, { timeout: NFT_LIMIT_MS, env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin', LC_ALL: 'C' } }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = stderr.trim().split('\n')[0] ?? '';
      if ('code' in error && error.code === 'ENOENT') return reject(fail('CLI_CAPTURE', 'there is no nft on this machine', { hint: 'apt-get install nftables', cause: error }));
      if (/Operation not permitted|must be root/i.test(stderr)) return reject(fail('CLI_CAPTURE', 'nft may not change the rules: this needs root (CAP_NET_ADMIN)', { hint: 'run it by sudo, or let the unit isthmus-agent-capture do it', cause: error }));
      if (/not supported|Could not process rule: No such file|cache initialization failed/i.test(stderr) && args[0] !== 'list') return reject(fail('CLI_CAPTURE', `the kernel cannot take the rules: ${said}`, { hint: 'it needs nf_tables with NAT (modules nf_tables, nft_chain_nat, nft_redir)', cause: error }));
      reject(fail('CLI_CAPTURE', `nft failed: ${said === '' ? messageOf(error) : said}`, { cause: error }));
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
