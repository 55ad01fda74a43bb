// `isthmus agent …` and `isthmus gateway …`: through the admin API of a context, or one process’s own socket.
import { formatServiceName } from '@isthmus/model';
import { type Document, serviceArgument, withAdmin } from '../admin.ts';
import { type CommandContext, withChannel } from '../context.ts';
import type { ApiContext } from '../contexts.ts';
import { fail } from '../errors.ts';
import { formatDocument, printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { proxyApi } from '../proxy-admin.ts';
import { text } from './cluster.ts';
import { instant } from './token.ts';

/** One agent or gateway: over a context what its cluster knows of it, else its own account of itself. */
export async function showAgent(context: CommandContext, [name]: readonly string[]): Promise<void> {
  if (context.api !== undefined && name !== undefined) return (await import('./drain.ts')).showMember(context, context.api, 'agent', name);
  const status = await withChannel(context.socketOf(name), (channel) => proxyApi(channel).status());
  printOutcome(context, formatDocument(status), status);
}

export async function drain(context: CommandContext, args: readonly string[], options: Options): Promise<void> {
  if (context.api === undefined) return setDraining(context, args, true);
  return (await import('./drain.ts')).drainMember(context, context.api, 'agent', args, options);
}

export async function undrain(context: CommandContext, args: readonly string[], options: Options): Promise<void> {
  if (context.api === undefined) return setDraining(context, args, false);
  return (await import('./drain.ts')).undrainMember(context, context.api, 'agent', args, options);
}

/** At the process's own socket: one service, or one workload of it, until it is taken back there or the process ends. */
async function setDraining(context: CommandContext, [name, serviceText, instance = '']: readonly string[], draining: boolean): Promise<void> {
  if (serviceText === undefined) throw fail('CLI_BAD_INPUT', 'at an agent’s own socket, name the service to drain', { hint: '`isthmus login` to the cluster’s admin API drains a whole agent' });
  const service = serviceArgument(serviceText);
  await withChannel(context.socketOf(name), async (channel) => {
    const own = text((await proxyApi(channel).status())['name']);
    // The socket of a host's own agent is found whatever name was typed.
    if (own !== name) throw fail('CLI_NOT_FOUND', `the agent here is ${own ?? 'without a name'}, not ${name ?? ''}`, { hint: '`isthmus login` to the cluster’s admin API reaches every agent' });
    await proxyApi(channel).setDraining(service, instance, draining);
  });
  printOutcome(context, `${formatServiceName(service)} ${instance} ${draining ? 'drains: it gets no new requests' : 'is back in service'}`, { service, instance, draining });
}

/** Who was admitted to the cluster, by what method and as whom. */
export async function listAgents(context: CommandContext): Promise<void> {
  const entries = await withAdmin(context, (api) => api.list('entry'));
  printRows(context, entries, [
    ['agent', (e) => text(e['agent'])],
    ['role', (e) => text(e['role'])],
    ['method', (e) => text(e['method']) ?? 'token'],
    ['subject', (e) => text(e['subject'])],
    ['services', (e) => text(e['services'])],
    ['joined', (e) => instant(e['joinedAtMs'])],
    ['state', (e) => stateOf(e)],
  ]);
}

function stateOf(entry: Document): string {
  if (entry['removedAtMs'] !== undefined) return `removed ${instant(entry['removedAtMs']) ?? ''}`;
  if (entry['clones'] === undefined) return 'admitted';
  return `two hold its identity: last ${instant(entry['clonedAtMs']) ?? ''} from ${text(entry['clonedFrom']) ?? 'nowhere'}`;
}

/** Lets an agent that was removed, or an instance that may join once, attest again. */
export async function readmitAgent(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  const { existed } = await withAdmin(context, (api) => api.readmit(name));
  if (!existed) throw fail('CLI_NOT_FOUND', `nothing keeps ${name} from attesting again`, { hint: '`isthmus agent list` shows who was removed' });
  printOutcome(context, `${name} may attest again`, { agent: name, readmitted: true });
}

/** Takes an agent's right to renew: its identity runs out within the life of its SVID. */
export async function removeAgent(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  const { existed } = await withAdmin(context, (api) => api.delete('agent', '', name));
  if (!existed) throw fail('CLI_NOT_FOUND', `no agent ${name} has joined this cluster`, { hint: '`isthmus agent list` shows who has' });
  printOutcome(context, `${name} may renew its identity no longer; what it has runs out`, { agent: name, removed: true });
}

/** A gateway: the same two ways. */
export async function showGateway(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  if (context.api !== undefined) return (await import('./drain.ts')).showMember(context, context.api, 'gateway', name);
  return showAgent(context, [name]);
}

export async function drainGateway(context: CommandContext, [name = '']: readonly string[], options: Options): Promise<void> {
  return (await import('./drain.ts')).drainMember(context, apiOf(context), 'gateway', [name], options);
}

export async function undrainGateway(context: CommandContext, [name = '']: readonly string[], options: Options): Promise<void> {
  return (await import('./drain.ts')).undrainMember(context, apiOf(context), 'gateway', [name], options);
}

function apiOf(context: CommandContext): ApiContext {
  if (context.api === undefined) throw fail('CLI_BAD_INPUT', 'a gateway is drained over an admin API, since its cluster has to tell others of it', { hint: '`isthmus login`, or name a context with --context' });
  return context.api;
}
