// `isthmus agent ban` (gateways too), `service ban`, `ban list`: SVIDs refused before they run out, here and in every peer.
import { type CommandContext } from '../context.ts';
import { serviceArgument, withAdmin } from '../admin.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text } from './cluster.ts';
import { instant } from './token.ts';

type Subject = { readonly kind: 'agent' | 'gateway' | 'service'; readonly namespace: string; readonly name: string };

const agentOf = (name: string, options: Options): Subject => ({ kind: options['role'] === 'gateway' ? 'gateway' : 'agent', namespace: '', name });
const serviceOf = (name: string | undefined): Subject => ({ kind: 'service', ...serviceArgument(name) });

export const banAgent = (context: CommandContext, [name = '']: readonly string[], options: Options): Promise<void> => ban(context, agentOf(name, options), options);
export const unbanAgent = (context: CommandContext, [name = '']: readonly string[], options: Options): Promise<void> => unban(context, agentOf(name, options));
export const banService = (context: CommandContext, [name]: readonly string[], options: Options): Promise<void> => ban(context, serviceOf(name), options);
export const unbanService = (context: CommandContext, [name]: readonly string[]): Promise<void> => unban(context, serviceOf(name));

const nameOf = ({ kind, namespace, name }: Subject): string => `${kind} ${kind === 'service' ? `${namespace}/${name}` : name}`;

async function ban(context: CommandContext, subject: Subject, options: Options): Promise<void> {
  await withAdmin(context, (api) => api.ban({ ...subject, reason: typeof options['reason'] === 'string' ? options['reason'] : '' }));
  const after = subject.kind !== 'service' ? 'it comes back only by a new join token' : 'nothing is issued for it until `isthmus service unban`';
  printOutcome(context, `${nameOf(subject)} is banned: what was issued to it so far is refused from now on, and its connections are closed; ${after}`, { ...subject, banned: true });
}

async function unban(context: CommandContext, subject: Subject): Promise<void> {
  const { existed } = await withAdmin(context, (api) => api.unban(subject));
  if (!existed) throw fail('CLI_NOT_FOUND', `${nameOf(subject)} is not banned`, { hint: '`isthmus ban list` shows who is' });
  printOutcome(context, `the ban of ${nameOf(subject)} is lifted`, { ...subject, banned: false });
}

export async function listBans(context: CommandContext): Promise<void> {
  const bans = await withAdmin(context, (api) => api.list('ban'));
  printRows(context, bans, [
    ['spiffe id', (b) => text(b['spiffeId'])],
    ['since', (b) => instant(b['bannedAtMs'])],
    ['until', (b) => instant(b['expiresAtMs'])],
    ['state', (b) => (b['lifted'] === true ? 'lifted' : 'in force')],
    ['reason', (b) => text(b['reason'])],
  ]);
}
