// `isthmus export …`: what this cluster offers to others, and what they offer to it.
import { type Export, type ForeignCallers, formatDuration, formatProblems, formatServiceName, parseExport } from '@isthmus/model';
import { serviceArgument, withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text } from './cluster.ts';

export async function applyExport(context: CommandContext, [name]: readonly string[], options: Options): Promise<void> {
  const consumers = String(options['consumers']);
  const foreignCallers = foreignCallersOf(Array.isArray(options['foreign']) ? options['foreign'].map(String) : []);
  const document: Export = {
    kind: 'export',
    ...serviceArgument(name),
    consumers: consumers === 'all' ? 'all' : consumers.split(','),
    ...(foreignCallers.length > 0 && { foreignCallers }),
    ...(options['layer7'] === true && { gateway: { layer: 7 } }),
  };
  const parsed = parseExport(document);
  if (!parsed.ok) throw fail('CLI_BAD_INPUT', formatProblems(parsed.problems));
  const { changed } = await withAdmin(context, (api) => api.apply(parsed.value));
  printOutcome(context, `export ${formatServiceName(document)} ${changed ? 'applied' : 'unchanged'}`, { changed, document });
}

/** Callers as they are written: `partner.example` for everybody there, `spiffe://partner.example/billing` for one; IDs are gathered by trust domain. */
export function foreignCallersOf(callers: readonly string[]): ForeignCallers[] {
  const byDomain = new Map<string, Set<string> | 'everybody'>();
  for (const caller of callers) {
    const id = caller.startsWith('spiffe://') ? caller : undefined;
    const trustDomain = id === undefined ? caller : (id.slice('spiffe://'.length).split('/')[0] ?? '');
    const before = byDomain.get(trustDomain);
    if (id === undefined) byDomain.set(trustDomain, 'everybody');
    else if (before !== 'everybody') byDomain.set(trustDomain, (before ?? new Set<string>()).add(id));
  }
  return [...byDomain].map(([trustDomain, ids]) => ({ trustDomain, ...(ids !== 'everybody' && { spiffeIds: [...ids] }) }));
}

export async function listExports(context: CommandContext): Promise<void> {
  const exports = await withAdmin(context, (api) => api.list('export'));
  printRows(context, exports, [
    ['namespace', (e) => text(e['namespace'])],
    ['name', (e) => text(e['name'])],
    ['consumers', (e) => text(e['consumers'])],
    ['foreign callers', (e) => (Array.isArray(e['foreignCallers']) ? e['foreignCallers'].map(shownCallers).join(', ') : undefined)],
  ]);
}

export async function listImports(context: CommandContext): Promise<void> {
  const imports = await withAdmin(context, (api) => api.list('import'));
  printRows(context, imports, [
    ['namespace', (i) => text(i['namespace'])],
    ['name', (i) => text(i['name'])],
    ['from', (i) => text(i['cluster'])],
    ['state', (i) => text(i['state'])],
    ['age', (i) => (typeof i['ageMs'] === 'number' ? formatDuration(i['ageMs']) : undefined)],
    ['ready', (i) => text(i['readyCount'])],
    ['gateways', (i) => text(i['gateways'])],
  ]);
}

export async function deleteExport(context: CommandContext, [name]: readonly string[]): Promise<void> {
  const service = serviceArgument(name);
  const { existed } = await withAdmin(context, (api) => api.delete('export', service.namespace, service.name));
  if (!existed) throw fail('CLI_NOT_FOUND', `${formatServiceName(service)} is not exported`);
  printOutcome(context, `export ${formatServiceName(service)} deleted`, { existed });
}

function shownCallers(callers: ForeignCallers): string {
  return callers.spiffeIds?.join(', ') ?? callers.trustDomain;
}
