// `isthmus agent|gateway drain`, `undrain`, `status` over an admin API: what is wanted of a process, and how far it is.
import type { ApiClient } from '@isthmus/api';
import { type Drain, formatServiceName, IsthmusError, parseDuration, type ProxyRole } from '@isthmus/model';
import { systemClock } from '@isthmus/runtime';
import { type Document, serviceArgument } from '../admin.ts';
import { withApi } from '../api.ts';
import type { CommandContext } from '../context.ts';
import type { ApiContext } from '../contexts.ts';
import { fail } from '../errors.ts';
import { formatDocument, printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text } from './cluster.ts';

const POLL_MS = 500;

/** A process as the API has it: what is wanted of it beside what it says. */
type Member = Document & { readonly connected: boolean; readonly drain: { readonly wanted: boolean; readonly acknowledged: boolean; readonly state: string; readonly connections?: number; readonly problem?: string } };

/** One agent or gateway, as its cluster knows it. */
export async function showMember(context: CommandContext, api: ApiContext, role: ProxyRole, name: string): Promise<void> {
  const found = await withApi(api, (client) => memberOf(client, context, role, name));
  printOutcome(context, formatDocument(found), found);
}

/** Every gateway of the cluster. */
export async function listGateways(context: CommandContext): Promise<void> {
  const { withAdmin } = await import('../admin.ts');
  const gateways = (await withAdmin(context, (api) => api.list('gateway'))) as readonly Member[];
  printRows(context, gateways, [
    ['gateway', (g) => text(g['name'])],
    ['connected', (g) => (g.connected ? 'yes' : 'no')],
    ['version', (g) => text(g['version'])],
    ['configuration', (g) => (g['inSync'] === undefined ? undefined : g['inSync'] === true ? 'acknowledged' : 'behind')],
    ['state', (g) => stateOf(g)],
  ]);
}

/** Declares that a process, or one workload beside an agent, is to get no new work; with `--wait` until nothing of it is left. */
export async function drainMember(context: CommandContext, api: ApiContext, role: ProxyRole, [name = '', serviceText, instance]: readonly string[], options: Options): Promise<void> {
  const workload = workloadOf(serviceText, instance);
  const waitMs = options['wait'] === true ? limitOf(options) : undefined;
  const reason = typeof options['reason'] === 'string' ? { reason: options['reason'] } : {};
  await withApi(api, async (client) => {
    await change(client, context, role, name, (before) => {
      const workloads = workload === undefined || (before !== undefined && before.workloads === undefined) ? undefined : [...new Set([...(before?.workloads ?? []), workload])];
      return { kind: 'drain', role, name, ...(workloads !== undefined && { workloads }), ...(before?.reason !== undefined && { reason: before.reason }), ...reason };
    });
    await told(client, context, role, name, waitMs, `${workload ?? name} drains: it gets nothing new`);
  });
}

/** Takes that back. */
export async function undrainMember(context: CommandContext, api: ApiContext, role: ProxyRole, [name = '', serviceText, instance]: readonly string[], options: Options): Promise<void> {
  const workload = workloadOf(serviceText, instance);
  await withApi(api, async (client) => {
    await change(client, context, role, name, (before) => {
      if (before === undefined) throw fail('CLI_NOT_FOUND', `nothing is declared to drain of ${role} ${name}`, { hint: `\`isthmus ${role} status ${name}\` shows what is` });
      if (workload === undefined) return undefined;
      if (before.workloads === undefined) throw fail('CLI_BAD_INPUT', `all of ${name} drains, not ${workload} alone`, { hint: `\`isthmus agent undrain ${name}\` takes that back` });
      const left = before.workloads.filter((one) => one !== workload);
      return left.length === 0 ? undefined : { ...before, workloads: left };
    });
    await told(client, context, role, name, options['wait'] === true ? limitOf(options) : undefined, `${workload ?? name} is back in service`);
  });
}

function workloadOf(serviceText: string | undefined, instance: string | undefined): string | undefined {
  if (serviceText === undefined) return undefined;
  if (instance === undefined) throw fail('CLI_BAD_INPUT', `${serviceText}: which instance?`, { hint: 'name the instance too, or no service at all for the whole agent' });
  return `${formatServiceName(serviceArgument(serviceText))}/${instance}`;
}

function limitOf(options: Options): number {
  const limit = parseDuration(String(options['waitLimit']));
  if (!limit.ok) throw fail('CLI_BAD_INPUT', `--wait-limit ${String(options['waitLimit'])} is no duration`, { hint: 'such as 90s or 10m' });
  return limit.value;
}

/** Reads what is declared, and writes what shall be for that revision: two operators do not undo each other. */
async function change(client: ApiClient, { cluster }: CommandContext, role: ProxyRole, name: string, next: (before: Drain | undefined) => Drain | undefined): Promise<void> {
  const params = { cluster, role, name };
  const before = await client.call<Drain>('getDrains', { params }).catch((error: unknown) => {
    if (error instanceof IsthmusError && error.class === 'not-found') return undefined;
    throw error;
  });
  const wanted = next(before?.value);
  const write = { params, ...(before?.etag === undefined ? {} : { ifMatch: before.etag }) };
  if (wanted === undefined) await client.call('deleteDrains', write);
  else await client.call('putDrains', { ...write, body: wanted, ...(before === undefined && { ifNoneMatch: '*' as const }) });
}

async function memberOf(client: ApiClient, { cluster }: CommandContext, role: ProxyRole, name: string): Promise<Member> {
  return (await client.call<Member>(role === 'agent' ? 'getAgents' : 'getGateways', { params: role === 'agent' ? { cluster, agent: name } : { cluster, gateway: name } })).value;
}

/** Says what was declared and what the process makes of it; waits for the end where that was asked. */
async function told(client: ApiClient, context: CommandContext, role: ProxyRole, name: string, waitMs: number | undefined, sentence: string): Promise<void> {
  const { stderr } = context;
  const untilMs = systemClock.monotonicMs() + (waitMs ?? 0);
  for (;;) {
    const member = await memberOf(client, context, role, name);
    const { drain } = member;
    const isOver = drain.acknowledged && drain.state === (drain.wanted ? 'drained' : 'serving');
    if (waitMs === undefined || isOver) return printOutcome(context, `${sentence}\n${stateOf(member)}`, member);
    if (systemClock.monotonicMs() > untilMs) throw fail('CLI_TIMEOUT', `${role} ${name}: ${stateOf(member)}`, { hint: 'what was declared stays; the same command waits on' });
    if (stderr.isTTY) stderr.write(`\r\x1b[K${stateOf(member)}`);
    await systemClock.sleep(POLL_MS);
    if (stderr.isTTY) stderr.write('\r\x1b[K');
  }
}

/** One line: what is wanted, and what the process says of it. */
function stateOf({ connected, drain }: Member): string {
  const { wanted, acknowledged, state, connections = 0, problem } = drain;
  if (!acknowledged && wanted) return connected ? 'to drain, not acknowledged yet' : 'to drain, not connected: it is told when it comes';
  if (!acknowledged) return state === 'unknown' ? 'serving, as far as is known' : 'to serve again, not acknowledged yet';
  return `${state}${state === 'draining' ? `, ${connections} connections are left` : ''}${problem === undefined ? '' : ` (${problem})`}`;
}
