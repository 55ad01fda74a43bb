// Tables for people and JSON for programs, from the same rows.
import { formatYaml } from '@isthmus/runtime';
import Table from 'cli-table3';

/** How a command prints: for people, or for programs. */
export type OutputForm = 'table' | 'json' | 'yaml';

/** One column: its heading, and its text in a row. */
export type Column<T> = readonly [heading: string, text: (row: T) => string | number | undefined];

/** Lines of a table without borders; headings are bold where `colour` says so. */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[], colour: boolean): string {
  const table = new Table({
    head: columns.map(([heading]) => heading.toUpperCase()),
    style: { head: colour ? ['bold'] : [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
      left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '',
    },
  });
  for (const row of rows) table.push(columns.map(([, text]) => String(text(row) ?? '-')));
  return table.toString().split('\n').map((line) => line.trimEnd()).join('\n');
}

/** Prints rows as a table, or `json` (the rows themselves where it is not given) as indented JSON. */
export function printRows<T>(
  to: { readonly stdout: NodeJS.WriteStream; readonly output: OutputForm },
  rows: readonly T[],
  columns: readonly Column<T>[],
  json: unknown = rows,
): void {
  if (to.output !== 'table') to.stdout.write(formatValue(json, to.output));
  else if (rows.length === 0) to.stdout.write('none\n');
  else to.stdout.write(`${formatTable(rows, columns, to.stdout.isTTY === true)}\n`);
}

/** Prints one sentence, or an object in JSON form. */
export function printOutcome(to: { readonly stdout: NodeJS.WriteStream; readonly output: OutputForm }, sentence: string, json: unknown): void {
  to.stdout.write(to.output === 'table' ? `${sentence}\n` : formatValue(json, to.output));
}

/** A nested document as aligned `path  value` lines, for status pages. */
export function formatDocument(document: unknown): string {
  const lines: [string, string][] = [];
  const walk = (value: unknown, path: string): void => {
    if (value !== null && typeof value === 'object' && Object.keys(value).length > 0) {
      for (const [key, inner] of Object.entries(value)) walk(inner, Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`);
    } else {
      lines.push([path, typeof value === 'string' ? value : (instantOf(path, value) ?? JSON.stringify(value) ?? '-')]);
    }
  };
  walk(document, '');
  const width = Math.max(0, ...lines.map(([path]) => path.length));
  return lines.map(([path, value]) => `${path.padEnd(width)}  ${value}`).join('\n');
}

/** A moment as people write it; programs get milliseconds. */
function instantOf(path: string, value: unknown): string | undefined {
  return typeof value === 'number' && /(At|Since)Ms$/.test(path) ? new Date(value).toISOString() : undefined;
}

function formatValue(value: unknown, form: 'json' | 'yaml'): string {
  const text = JSON.stringify(value, undefined, 2);
  return form === 'json' ? `${text}\n` : formatYaml(JSON.parse(text));
}
