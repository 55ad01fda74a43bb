// Tables for people and JSON for programs, from the same rows.
import Table from 'cli-table3';

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
  to: { readonly stdout: NodeJS.WriteStream; readonly output: 'table' | 'json' },
  rows: readonly T[],
  columns: readonly Column<T>[],
  json: unknown = rows,
): void {
  if (to.output === 'json') to.stdout.write(`${JSON.stringify(json, undefined, 2)}\n`);
  else if (rows.length === 0) to.stdout.write('none\n');
  else to.stdout.write(`${formatTable(rows, columns, to.stdout.isTTY === true)}\n`);
}

/** Prints one sentence, or an object in JSON form. */
export function printOutcome(to: { readonly stdout: NodeJS.WriteStream; readonly output: 'table' | 'json' }, sentence: string, json: unknown): void {
  to.stdout.write(to.output === 'json' ? `${JSON.stringify(json, undefined, 2)}\n` : `${sentence}\n`);
}

/** A nested document as aligned `path  value` lines, for status pages. */
export function formatDocument(document: unknown): string {
  const lines: [string, string][] = [];
  const walk = (value: unknown, path: string): void => {
    if (value !== null && typeof value === 'object' && Object.keys(value).length > 0) {
      for (const [key, inner] of Object.entries(value)) walk(inner, Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`);
    } else {
      lines.push([path, typeof value === 'string' ? value : JSON.stringify(value) ?? '-']);
    }
  };
  walk(document, '');
  const width = Math.max(0, ...lines.map(([path]) => path.length));
  return lines.map(([path, value]) => `${path.padEnd(width)}  ${value}`).join('\n');
}
