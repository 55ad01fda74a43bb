// `isthmus get`, `diff -f`, `delete -f`: any kind by its word, and files held against what there is.
import { isDeepStrictEqual } from 'node:util';
import { formatYaml } from '@isthmus/runtime';
import { type Document, serviceArgument, withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { type Column, formatDocument, printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { namedBy } from '../documents.ts';
import { byKind, readDeclarations } from './apply.ts';
import { KIND_WORDS, KINDS } from './kinds.ts';
import { text } from './cluster.ts';
import { instant } from './token.ts';

/** Columns a table begins with, where a document has them. */
const FIRST = ['namespace', 'service', 'instance', 'name', 'cluster', 'trustDomain', 'id', 'agent', 'kind', 'role', 'state', 'health', 'connected', 'version', 'network', 'locality', 'inSync', 'sequence', 'gateways', 'readyCount', 'expiresAtMs', 'usedAtMs', 'joinedAtMs', 'reason'];
/** Columns that are made of a document's parts. */
const MADE: readonly Column<Document>[] = [
  ['ports', ({ ports }) => (Array.isArray(ports) ? ports.map((p: Document) => `${text(p['name'])}=${text(p['port'])}/${text(p['protocol'])}`).join(', ') : undefined)],
  ['consumers', ({ consumers }) => (Array.isArray(consumers) ? consumers.join(', ') : text(consumers))],
  ['drain', ({ drain }) => (typeof drain === 'object' && drain !== null && 'state' in drain ? `${text(drain.state)}${'acknowledged' in drain && drain.acknowledged === false && 'wanted' in drain && drain.wanted === true ? ', not acknowledged' : ''}` : undefined)],
  ['workloads', ({ workloads }) => (Array.isArray(workloads) ? workloads.join(', ') : undefined)],
];

/** Exit code of `diff` where something differs, as diff(1). */
const EXIT_DIFFERENT = 1;

export async function getResources(context: CommandContext, [word = '', name]: readonly string[], options: Options): Promise<void> {
  const kind = Object.hasOwn(KINDS, word) ? KINDS[word] : undefined;
  if (kind === undefined) throw fail('CLI_BAD_INPUT', `${JSON.stringify(word)} is no kind`, { hint: `kinds: ${KIND_WORDS.join(', ')}` });
  const namespace = typeof options['namespace'] === 'string' ? options['namespace'] : '';
  if (name !== undefined && (kind === 'service' || kind === 'export' || kind === 'federated-trust-domain')) {
    const wanted = kind === 'federated-trust-domain' ? { namespace: '', name } : serviceArgument(name);
    const found = await withAdmin(context, (api) => api.get(kind, wanted.namespace, wanted.name));
    if (found === undefined) throw fail('CLI_NOT_FOUND', `no ${kind} ${name}`);
    return printOutcome(context, formatDocument(found), found);
  }
  const all = await withAdmin(context, (api) => api.list(kind, namespace));
  const isNamed = (d: Document): boolean => [d['name'], d['cluster'], d['id'], d['agent'], d['trustDomain'], d['spiffeId'], `${text(d['role'])}/${text(d['name'] ?? d['agent'])}`, `${text(d['namespace'])}/${text(d['name'] ?? d['service'])}`].includes(name);
  const rows = name === undefined ? all : all.filter(isNamed);
  if (name !== undefined && rows.length === 0) throw fail('CLI_NOT_FOUND', `no ${kind} ${name}`);
  const columns = FIRST.filter((field) => rows.some((row) => row[field] !== undefined) && !(field === 'kind' && kind !== 'proxy'));
  const isThere = ([, textOf]: Column<Document>): boolean => rows.some((row) => textOf(row) !== undefined);
  printRows<Document>(context, rows, [...columns.map((field): Column<Document> => [headingOf(field), (row) => (field.endsWith('AtMs') ? instant(row[field]) : text(row[field]))]), ...MADE.filter(isThere)]);
}

/** `expiresAtMs` as `expires`, `inSync` as `in sync`. */
function headingOf(field: string): string {
  return field.replace(/AtMs$/, '').replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** Says what `apply -f` would change: nothing, exit 0; something, exit 1. */
export async function diffFile(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const declarations = readDeclarations(String(options['file'])).toSorted(byKind);
  const differences = await withAdmin(context, async (api) => {
    const found: { kind: string; name: string; change: 'create' | 'replace'; lines: readonly string[] }[] = [];
    for (const wanted of declarations) {
      const { namespace, name, label } = namedBy(wanted);
      const current = await api.get(wanted.kind, namespace, name);
      if (current !== undefined && isDeepStrictEqual({ ...current }, { ...wanted })) continue;
      found.push({ kind: wanted.kind, name: label, change: current === undefined ? 'create' : 'replace', lines: diffLines(current === undefined ? '' : formatYaml(current), formatYaml(wanted)) });
    }
    return found;
  });
  const page = differences.flatMap((d) => [`${d.change} ${d.kind} ${d.name}`, ...d.lines]);
  printOutcome(context, differences.length === 0 ? 'nothing differs' : page.join('\n'), differences);
  if (differences.length > 0) process.exitCode = EXIT_DIFFERENT;
}

/** Deletes what a file declares, exports before their services; what is not there is no error. */
export async function deleteFile(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const declarations = readDeclarations(String(options['file'])).toSorted((a, b) => byKind(b, a));
  const outcomes = await withAdmin(context, async (api) => {
    const done: { kind: string; name: string; existed: boolean }[] = [];
    for (const declaration of declarations) {
      const { namespace, name, label } = namedBy(declaration);
      done.push({ kind: declaration.kind, name: label, ...(await api.delete(declaration.kind, namespace, name)) });
    }
    return done;
  });
  printRows(context, outcomes, [
    ['kind', (o) => o.kind],
    ['name', (o) => o.name],
    ['outcome', (o) => (o.existed ? 'deleted' : 'was not there')],
  ]);
}

/** Lines of a longest common subsequence kept, others marked `-` and `+`; documents are short, so the quadratic table is. */
export function diffLines(before: string, after: string): readonly string[] {
  const [a, b] = [before, after].map((t) => (t === '' ? [] : t.trimEnd().split('\n'))) as [string[], string[]];
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  const at = (i: number, j: number): number => longest[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) for (let j = b.length - 1; j >= 0; j -= 1) (longest[i] as Uint16Array)[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) lines.push(`  ${a[i++] === undefined ? '' : b[j++]}`);
    else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) lines.push(`- ${a[i++]}`);
    else lines.push(`+ ${b[j++]}`);
  }
  return lines;
}
