// `isthmus status` over the admin API: the whole federation on one screen, what needs a look first.
import { type Attention, type ClusterPart, type Severity, type TrustPart } from '@isthmus/api';
import { formatDuration } from '@isthmus/model';
import { formatTable } from '../output/table.ts';
import { text } from './cluster.ts';

export type FederationStatus = { readonly cluster: string; readonly clusters: readonly ClusterPart[]; readonly trust?: TrustPart; readonly attention: readonly Attention[] };

type Document = Readonly<Record<string, unknown>>;

const COLOURS: Readonly<Record<Severity, string>> = { failing: '31', expiring: '33', stale: '33', 'under-way': '36' };
/** Beyond them a screen is full; `-o json` has all. */
const SHOWN = 20;

/** The page: what needs a look, a line for each cluster, a line for the root of trust. */
export function formatFederation({ cluster, clusters, trust, attention }: FederationStatus, colour: boolean): string {
  const painted = (severity: Severity): string => (colour ? `\x1b[${COLOURS[severity]}m${severity.padEnd(9)}\x1b[0m` : severity.padEnd(9));
  const hidden = attention.length - SHOWN;
  return [
    ...(attention.length === 0 ? ['nothing needs a look'] : attention.slice(0, SHOWN).map((a) => `${painted(a.severity)}  ${a.cluster === '' ? 'federation' : a.cluster}: ${a.subject} ${a.detail}`)),
    ...(hidden > 0 ? [`and ${hidden} more (-o json shows all)`] : []),
    '',
    formatTable(
      clusters,
      [
        ['cluster', (c) => c.cluster],
        ['state', stateOf],
        ['known', (c) => knownOf(c, cluster)],
        ['store', (c) => (answers(c) ? (part(c.status?.['store'])['current'] === true ? 'up to date' : 'away') : undefined)],
        ['identity lasts', (c) => lasts(part(c.status?.['identity'])['secondsToIdentityLoss'])],
        ['services', (c) => (answers(c) ? text(c.status?.['services']) : undefined)],
        ['exports', (c) => text(c.status?.['exports'])],
        ['workloads', (c) => counted(part(c.status?.['workloads']), answers(c))],
        ['peers', (c) => share(list(c.status?.['peers']), (p) => p['state'] === 'fresh', 'fresh', answers(c))],
        ['proxies', (c) => share(list(c.status?.['proxies']), (p) => p['inSync'] === true, 'in sync', answers(c))],
      ],
      colour,
    ),
    '',
    trustLine(trust),
  ].join('\n');
}

function answers(c: ClusterPart): boolean {
  return c.problem === undefined;
}

function stateOf(c: ClusterPart): string {
  return answers(c) ? 'answers' : `away (${text(c.status?.['state']) ?? 'unknown'})`;
}

function knownOf(c: ClusterPart, own: string): string {
  if (answers(c)) return c.cluster === own ? 'from itself' : 'from itself, now';
  return c.ageMs === undefined ? 'nothing' : `from the mirror, ${formatDuration(c.ageMs)} old`;
}

function counted(workloads: Document, isAnswered: boolean): string | undefined {
  const counts = Object.entries(workloads).map(([health, count]) => `${text(count)} ${health}`);
  return counts.length > 0 ? counts.join(', ') : isAnswered ? 'none' : undefined;
}

function share(all: readonly Document[], isGood: (one: Document) => boolean, word: string, isAnswered: boolean): string | undefined {
  if (!isAnswered) return undefined;
  return all.length === 0 ? 'none' : `${all.filter(isGood).length}/${all.length} ${word}`;
}

function trustLine(trust: TrustPart | undefined): string {
  if (trust === undefined) return 'root of trust: this admin API was not told where it is';
  if (trust.problem !== undefined) return 'root of trust: away';
  const roots = list(trust['roots']).map((r) => `${String(r['sha256']).slice(0, 12)} ${text(r['state'])}`);
  const rotation = part(trust['rotation']);
  const step = rotation['step'];
  return `root of trust: ${roots.join(', ')}; ${typeof step !== 'string' ? 'no rotation yet' : step === 'done' ? 'last rotation done' : `rotation at ${step}`}`;
}

function lasts(seconds: unknown): string | undefined {
  return typeof seconds === 'number' ? formatDuration(seconds * 1_000) : undefined;
}

function part(value: unknown): Document {
  return typeof value === 'object' && value !== null ? (value as Document) : {};
}

function list(value: unknown): readonly Document[] {
  return Array.isArray(value) ? value.map(part) : [];
}
