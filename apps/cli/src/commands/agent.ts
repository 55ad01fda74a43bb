// `isthmus agent …`: one agent or gateway, through its own socket.
import { formatServiceName } from '@isthmus/model';
import { serviceArgument, withAdmin } from '../admin.ts';
import { type CommandContext, withChannel } from '../context.ts';
import { fail } from '../errors.ts';
import { formatDocument, printOutcome } from '../output/table.ts';
import { proxyApi } from '../proxy-admin.ts';

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

/** Takes an agent's right to renew: its identity runs out within the life of its SVID. */
export async function removeAgent(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  const { existed } = await withAdmin(context, (api) => api.delete('agent', '', name));
  if (!existed) throw fail('CLI_NOT_FOUND', `no agent ${name} has joined this cluster`, { hint: '`isthmus status` shows those that are connected' });
  printOutcome(context, `${name} may renew its identity no longer; what it has runs out`, { agent: name, removed: true });
}
