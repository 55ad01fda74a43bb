// The reference pages made from the catalogues.
import { dirname } from 'node:path/posix';
import { type ConfigSchema, environmentName, keysOf, typeName } from '@isthmus/runtime';
import type { ErrorEntry, MetricEntry } from './catalogue.ts';

/** The line that keeps people from editing. */
export const MADE = '<!-- Made by `npm run generate`; do not edit. -->';

/** How a class shows, for the table's heading text; the figures are those of `libs/model/src/error.ts`. */
export type ClassFigures = Readonly<Record<string, { readonly http: number; readonly grpc: number; readonly exit: number; readonly retry: boolean }>>;

/** `docs/reference/errors.md`: every code by the package that throws it, and what its class means at each edge. */
export function errorsPage(entries: readonly ErrorEntry[], classes: ClassFigures): string {
  const lines = [
    '# Error codes',
    MADE,
    '',
    'A code never changes its meaning. Its class decides the exit code, the gRPC and HTTP status, and whether trying again can help.',
    '',
    '| class | exit | gRPC | HTTP | try again |',
    '|---|---|---|---|---|',
    ...Object.entries(classes).map(([name, c]) => `| ${name} | ${c.exit} | ${c.grpc} | ${c.http} | ${c.retry ? 'yes' : 'no'} |`),
  ];
  for (const [owner, own] of byOwner(entries)) {
    lines.push('', `## ${owner}`, '', '| code | class | meaning |', '|---|---|---|');
    lines.push(...own.toSorted((a, b) => (a.code < b.code ? -1 : 1)).map((e) => `| \`${e.code}\` | ${e.class} | ${cell(e.doc)} |`));
  }
  return `${lines.join('\n')}\n`;
}

/** `docs/reference/metrics.md`: every metric by the package that counts it. */
export function metricsPage(entries: readonly MetricEntry[]): string {
  const lines = [
    '# Metrics',
    MADE,
    '',
    'Served at `/metrics` of each program that has `health.port` set, in the Prometheus text format. A metric has at most 1,000 label sets; further ones are counted under `other`.',
  ];
  for (const [owner, own] of byOwner(entries)) {
    lines.push('', `## ${owner}`, '', '| metric | kind | labels | meaning |', '|---|---|---|---|');
    lines.push(...own.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map((m) => `| \`${m.name}\` | ${m.kind} | ${m.labels.map((l) => `\`${l}\``).join(' ')} | ${cell(m.help)} |`));
  }
  return `${lines.join('\n')}\n`;
}

/** `docs/reference/configuration.md`: every key of every program. */
export function configurationPage(programs: readonly { readonly program: string; readonly schema: ConfigSchema }[]): string {
  const lines = [
    '# Configuration',
    MADE,
    '',
    'Each program reads one YAML file, given with `--config FILE`. Every key is also a flag and an environment variable; a flag goes before a variable, that before the file, and that before the default. Unknown keys are errors. `--help` lists the keys, `--print-config` shows what is in force and where each value comes from.',
  ];
  for (const { program, schema } of programs) {
    const keys = keysOf(schema);
    const example = keys.find((k) => k.path.length > 1) ?? keys[0];
    lines.push('', `## ${program}`, '');
    if (example !== undefined) lines.push(`As a flag: \`--${example.path.join('.')} VALUE\`; as a variable: \`${environmentName(program, example.path)}\`.`, '');
    lines.push('| key | type | default | meaning |', '|---|---|---|---|');
    for (const { path, schema: key, isRequired } of keys) {
      const standing = key.default !== undefined ? `\`${JSON.stringify(key.default)}\`` : isRequired ? 'required' : '';
      lines.push(`| \`${path.join('.')}\` | ${cell(typeName(key))} | ${cell(standing)} | ${cell(key.description ?? '')} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function byOwner<E extends { readonly source: string }>(entries: readonly E[]): readonly (readonly [string, readonly E[]])[] {
  const owners = Map.groupBy(entries, (e) => dirname(e.source).split('/').slice(0, 2).join('/'));
  return [...owners].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
