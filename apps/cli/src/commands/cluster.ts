// `isthmus cluster …`: members of the federation, bootstrap tokens, and peers as one cluster sees them.
import { formatDuration, formatProblems, parseClusterName, parseDuration } from '@isthmus/model';
import { withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { withTrustRoot } from '../trust-admin.ts';

/** Prints a token a cluster may join with once. */
export async function createClusterToken(context: CommandContext, [name = '']: readonly string[], options: Options): Promise<void> {
  const cluster = parseClusterName(name);
  if (!cluster.ok) throw fail('CLI_BAD_INPUT', formatProblems(cluster.problems));
  const ttlSeconds = ttlOption(options);
  const made = await withTrustRoot(context, (api) => api.createClusterToken({ cluster: cluster.value, ttlSeconds, replace: options['replace'] === true }));
  printOutcome(context, made.token, { token: made.token, cluster: cluster.value, expiresAtMs: made.expiresAtMs });
}

export async function listClusters(context: CommandContext): Promise<void> {
  const members = await withTrustRoot(context, (api) => api.members());
  printRows(context, members, [
    ['cluster', (m) => m.cluster],
    ['trust domain', (m) => m.trustDomain],
    ['locality', (m) => m.locality],
    ['gateways', (m) => m.gateways.join(', ')],
  ]);
}

export async function removeCluster(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  await withTrustRoot(context, (api) => api.removeCluster(name));
  printOutcome(context, `${name} is no member any more`, { cluster: name, removed: true });
}

export async function fenceCluster(context: CommandContext, [name = '']: readonly string[], options: Options): Promise<void> {
  const reason = typeof options['reason'] === 'string' ? options['reason'] : '';
  await withTrustRoot(context, (api) => api.fence(name, reason));
  printOutcome(context, `${name} is fenced: nothing it ever signed is trusted in any cluster that hears the trust root`, { cluster: name, fenced: true });
}

export async function unfenceCluster(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  await withTrustRoot(context, (api) => api.unfence(name));
  printOutcome(context, `${name} may join anew: \`isthmus cluster token create ${name} --replace\`, then new tokens for its gateways and agents`, { cluster: name, fenced: false });
}

export async function listPeers(context: CommandContext): Promise<void> {
  const peers = await withAdmin(context, (api) => api.list('peer'));
  printRows(context, peers, [
    ['cluster', (p) => text(p['cluster'])],
    ['state', (p) => text(p['state'])],
    ['last heard', (p) => (typeof p['ageMs'] === 'number' ? `${formatDuration(p['ageMs'])} ago` : '-')],
    ['exports', (p) => text(p['exports'])],
    ['refused', (p) => text(p['refused'])],
    ['last error', (p) => text(p['lastError'])],
  ]);
}

/** The `--ttl` option in seconds; throws CLI_BAD_INPUT. */
export function ttlOption(options: Options): number {
  const ttl = parseDuration(String(options['ttl']), '--ttl');
  if (!ttl.ok) throw fail('CLI_BAD_INPUT', formatProblems(ttl.problems));
  if (ttl.value < 1_000) throw fail('CLI_BAD_INPUT', '--ttl: must be a second or more');
  return Math.floor(ttl.value / 1_000);
}

/** A field of a document as table text. */
export function text(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map((item) => (typeof item === 'object' ? JSON.stringify(item) : String(item))).join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
