// `isthmus token …`: one-time join tokens of agents and gateways.
import { formatProblems, parseDnsLabel } from '@isthmus/model';
import { serviceArgument, withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text, ttlOption } from './cluster.ts';

export async function createToken(context: CommandContext, [agent = '']: readonly string[], options: Options): Promise<void> {
  const label = parseDnsLabel(agent);
  if (!label.ok) throw fail('CLI_BAD_INPUT', formatProblems(label.problems));
  const services = options['service'] as readonly string[];
  for (const service of services) serviceArgument(service);
  const made = await withAdmin(context, (api) => api.createJoinToken({ agent, role: String(options['role']), services, ttlSeconds: ttlOption(options) }));
  printOutcome(context, made.token, { ...made, agent });
}

export async function listTokens(context: CommandContext): Promise<void> {
  const tokens = (await withAdmin(context, (api) => api.list('join-token'))).map(({ secretSha256: _, ...rest }) => rest);
  printRows(context, tokens, [
    ['id', (t) => text(t['id'])],
    ['for', (t) => text(t['agent'])],
    ['role', (t) => text(t['role'])],
    ['services', (t) => text(t['services'])],
    ['expires', (t) => instant(t['expiresAtMs'])],
    ['used', (t) => instant(t['usedAtMs'])],
  ]);
}

export async function deleteToken(context: CommandContext, [id = '']: readonly string[]): Promise<void> {
  const { existed } = await withAdmin(context, (api) => api.delete('join-token', '', id));
  if (!existed) throw fail('CLI_NOT_FOUND', `no join token ${id}`, { hint: '`isthmus token list` shows those there are' });
  printOutcome(context, `token ${id} deleted`, { id, existed });
}

/** Unix milliseconds as ISO 8601 in UTC, to the second. */
export function instant(value: unknown): string | undefined {
  return typeof value === 'number' && value > 0 ? `${new Date(value).toISOString().slice(0, 19)}Z` : undefined;
}
