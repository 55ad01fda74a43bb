// `isthmus status`: the federation's state, or one control plane's own account of itself; what needs a look first.
import { formatDuration } from '@isthmus/model';
import { withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { formatTable, printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text } from './cluster.ts';
import type { FederationStatus } from './federation-status.ts';

type Document = Readonly<Record<string, unknown>>;

/** The federation's state over an admin API; one cluster's with `--cluster`, or over its own socket. */
export async function showStatus(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const { api } = context;
  if (api !== undefined && options['cluster'] === undefined) {
    const [{ withApi }, { formatFederation }] = await Promise.all([import('../api.ts'), import('./federation-status.ts')]);
    const { value } = await withApi(api, (client) => client.call<FederationStatus>('getFederationStatus'));
    return printOutcome(context, formatFederation(value, context.stdout.isTTY === true), value);
  }
  const status: Document = await withAdmin(context, (api) => api.status());
  printOutcome(context, formatStatus(status, context.stdout.isTTY === true), status);
}

/** The status page: what is wrong, the cluster itself, its peers, its proxies. */
export function formatStatus(status: Document, colour: boolean): string {
  const identity = part(status['identity']);
  const store = part(status['store']);
  const [peers, proxies, identities] = [list(status['peers']), list(status['proxies']), list(status['identities'])];
  const facts: readonly (readonly [string, string])[] = [
    ['cluster', `${text(status['cluster'])} of ${text(status['federation'])}${status['locality'] === '' ? '' : `, ${text(status['locality'])}`}`],
    ['store', `${text(store['kind'])}, ${store['current'] === true ? 'up to date' : 'away: last known state in use'}`],
    ['trust root', identity['trustRootReachable'] === true ? 'reachable' : `away (${text(identity['lastError']) ?? 'no answer'})`],
    ['identity lasts', formatDuration(Number(identity['secondsToIdentityLoss'] ?? 0) * 1_000)],
    ['root (SHA-256)', text(identity['rootSha256']) ?? 'unknown'],
    ['issued', `${text(identity['issued']) ?? '0'} SVIDs since its start; log at record ${text(part(identity['log'])['records']) ?? '?'}${part(identity['log'])['isWritable'] === false ? ', which cannot be written' : ''}`],
    ['declared', `${text(status['services'])} services, ${text(status['exports'])} exported`],
    ['workloads', Object.entries(part(status['workloads'])).map(([health, count]) => `${text(count)} ${health}`).join(', ') || 'none'],
  ];
  const warnings = warningsOf(status, peers, proxies);
  return [
    ...(warnings.length === 0 ? ['nothing needs a look'] : warnings.map((w) => `! ${w}`)),
    '',
    ...facts.map(([name, value]) => `${name.padEnd(16)}${value}`),
    '',
    peers.length === 0 ? 'no peers' : formatTable(peers, [['peer', (p) => text(p['cluster'])], ['state', (p) => text(p['state'])], ['last heard', (p) => age(p['ageMs'])], ['exports', (p) => text(p['exports'])], ['last error', (p) => text(p['lastError'])]], colour),
    '',
    proxies.length === 0 ? 'no proxies' : formatTable(proxies, [['proxy', (p) => text(p['name'] ?? p['id'])], ['kind', (p) => text(p['kind'])], ['network', (p) => text(p['network'])], ['snapshot', (p) => (p['inSync'] === true ? 'in sync' : 'behind')]], colour),
    ...(identities.length === 0 ? [] : ['', formatTable(identities, [['member', (m) => text(m['name'])], ['kind', (m) => text(m['kind'])], ['connected', (m) => (m['isConnected'] === true ? 'yes' : 'no')], ['identity lasts', (m) => lasts(m['secondsToIdentityLoss'])]], colour)]),
  ].join('\n');
}

function warningsOf(status: Document, peers: readonly Document[], proxies: readonly Document[]): readonly string[] {
  const refused = list(part(status['store'])['refusedRecords']);
  return [
    ...refused.map((r) => `record ${text(r['key'])} does not parse: ${text(r['reason'])}`),
    ...peers.filter((p) => p['state'] !== 'fresh').map((p) => `peer ${text(p['cluster'])} is ${text(p['state'])}${typeof p['ageMs'] === 'number' ? `, last heard ${age(p['ageMs'])}` : ''}`),
    ...peers.filter((p) => Number(p['refused']) > 0).map((p) => `peer ${text(p['cluster'])}: ${text(p['refused'])} records refused, last: ${text(p['lastRefusal'])}`),
    ...list(status['foreignTrustDomains'])
      .filter((f) => f['state'] !== 'ok')
      .map((f) => `foreign trust domain ${text(f['trustDomain'])}: ${f['state'] === 'none' ? 'no bundle, nobody of it is let in' : `last good bundle of ${age(f['ageMs']) ?? 'long ago'} in use`}${f['lastError'] === undefined ? '' : ` (${text(f['lastError'])})`}`),
    ...list(status['drains']).map((d) => `${text(d['role'])} ${text(d['name'])} is out of service${d['reason'] === undefined ? '' : `: ${text(d['reason'])}`}`),
    ...proxies.filter((p) => p['nack'] !== undefined).map((p) => `proxy ${text(p['name'] ?? p['id'])} refused a snapshot: ${text(part(p['nack'])['reason'])}`),
  ];
}

function lasts(seconds: unknown): string | undefined {
  return typeof seconds === 'number' ? formatDuration(seconds * 1_000) : undefined;
}

function age(ageMs: unknown): string | undefined {
  return typeof ageMs === 'number' ? `${formatDuration(ageMs)} ago` : undefined;
}

function part(value: unknown): Document {
  return typeof value === 'object' && value !== null ? (value as Document) : {};
}

function list(value: unknown): readonly Document[] {
  return Array.isArray(value) ? value.map(part) : [];
}
