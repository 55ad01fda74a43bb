// `isthmus agent …`: one agent or gateway, through its own socket.
import { formatServiceName } from '@isthmus/model';
import { serviceArgument } from '../admin.ts';
import { type CommandContext, withChannel } from '../context.ts';
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
