// `isthmus agent …`: one agent or gateway, through its own socket.
import { formatServiceName } from '@isthmus/model';
import { type Document, serviceArgument, withAdmin } from '../admin.ts';
import { type CommandContext, withChannel } from '../context.ts';
import { fail } from '../errors.ts';
import { formatDocument, printOutcome, printRows } from '../output/table.ts';
import { proxyApi } from '../proxy-admin.ts';
import { text } from './cluster.ts';
import { instant } from './token.ts';

export async function showAgent(context: CommandContext, [name]: readonly string[]): Promise<void> {
  const status = await withChannel(context.socketOf(name), (channel) => proxyApi(channel).status());
  printOutcome(context, formatDocument(status), status);
}

export const drain = (context: CommandContext, args: readonly string[]): Promise<void> => setDraining(context, args, true);
export const undrain = (context: CommandContext, args: readonly string[]): Promise<void> => setDraining(context, args, false);

async function setDraining(context: CommandContext, [name, serviceText, instance = '']: readonly string[], draining: boolean): Promise<void> {
  const service = serviceArgument(serviceText);
  await withChannel(context.socketOf(name), (channel) => proxyApi(channel).setDraining(service, instance, draining));
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
  const { existed } = await withAdmin(context, (api) => api.delete('attestation', '', name));
  if (!existed) throw fail('CLI_NOT_FOUND', `nothing keeps ${name} from attesting again`, { hint: '`isthmus agent list` shows who was removed' });
  printOutcome(context, `${name} may attest again`, { agent: name, readmitted: true });
}

/** Takes an agent's right to renew: its identity runs out within the life of its SVID. */
export async function removeAgent(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  const { existed } = await withAdmin(context, (api) => api.delete('agent', '', name));
  if (!existed) throw fail('CLI_NOT_FOUND', `no agent ${name} has joined this cluster`, { hint: '`isthmus agent list` shows who has' });
  printOutcome(context, `${name} may renew its identity no longer; what it has runs out`, { agent: name, removed: true });
}
