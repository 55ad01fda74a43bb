// Configuration: one schema a program; default < file < environment < flag; every problem at once, with file and line.
import { readFileSync } from 'node:fs';
import { compileSchema, type Problem, type Static, type TSchema } from '@isthmus/model';
import { fail } from './errors.ts';
import { parseYaml, type YamlDocument } from './yaml.ts';

export type LoadConfigOptions<T extends TSchema> = {
  readonly program: string;
  readonly schema: T;
  /** Without the interpreter and script; the process's own without it. */
  readonly argv?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
};

type Schema = {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
};
type Tree = { [key: string]: unknown };

/**
 * Loads a program's configuration from `--config FILE` (YAML), `ISTHMUS_<PROGRAM>_<KEY>` variables (nested keys joined by
 * `_`, in upper snake case) and flags (`--listen.port 7100`). `--help` lists every key, `--print-config` shows what is in
 * force; both exit 0. **Throws** CONFIG_INVALID with every problem, CONFIG_NOT_FOUND.
 */
export function loadConfig<T extends TSchema>(options: LoadConfigOptions<T>): Static<T> {
  const schema = options.schema as Schema;
  const argv = options.argv ?? process.argv.slice(2);
  if (argv.includes('--help') || argv.includes('-h')) exitWith(helpText(options.program, schema));
  const flags = readFlags(argv);
  const file = flags.get('config');
  flags.delete('config');
  const printIt = flags.delete('print-config');

  const source = file === undefined ? undefined : readFile(file);
  const tree: Tree = isTree(source?.value) ? structuredClone(source.value) : {};
  const problems: Problem[] = [];
  const leaves = leavesOf(schema);
  const env = options.env ?? process.env;
  for (const leaf of leaves) {
    const name = `ISTHMUS_${snake(options.program)}_${leaf.path.map(snake).join('_')}`;
    const text = env[name];
    if (text !== undefined) setAt(tree, leaf.path, fromText(text, leaf.schema));
  }
  for (const [name, text] of flags) {
    const leaf = leaves.find((l) => l.path.join('.') === name);
    if (leaf === undefined) problems.push({ path: `--${name}`, message: `unknown flag${suggest(name, leaves.map((l) => l.path.join('.')))}` });
    else setAt(tree, leaf.path, fromText(text, leaf.schema));
  }
  const value = withDefaults(tree, schema);
  const checked = compileSchema(options.schema)(value);
  if (!checked.ok) problems.push(...unique(checked.problems.map((p) => place(p, file, source, schema))));
  if (problems.length > 0) {
    const list = problems.map((p) => `  ${p.path === '' ? '' : `${p.path}: `}${p.message}`).join('\n');
    throw fail('CONFIG_INVALID', `the configuration of ${options.program} is wrong:\n${list}`, { hint: `${options.program} --help lists every key` });
  }
  if (printIt) exitWith(`${JSON.stringify(value, null, 2)}\n`);
  return value as Static<T>;
}

function exitWith(text: string): never {
  process.stdout.write(text);
  process.exit(0);
}

function readFile(file: string): YamlDocument {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fail('CONFIG_NOT_FOUND', `the configuration file ${file} cannot be read`, { hint: 'name it with --config FILE', cause: error });
  }
  const read = parseYaml(text, file);
  if (!read.ok) throw fail('CONFIG_INVALID', read.problems.map((p) => `${p.path}: ${p.message}`).join('\n'));
  const [document, ...more] = read.value;
  if (more.length > 0) throw fail('CONFIG_INVALID', `${file}: holds more than one document`);
  if (document !== undefined && document.value !== null && !isTree(document.value)) throw fail('CONFIG_INVALID', `${file}:1: must be a mapping of keys`);
  return document ?? { value: {}, lineOf: () => 1 };
}

function readFlags(argv: readonly string[]): Map<string, string> {
  const flags = new Map<string, string>();
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = splitOnce(argv[i] ?? '');
    if (!name.startsWith('--')) throw fail('CONFIG_INVALID', `unexpected argument ${JSON.stringify(argv[i])}`, { hint: '--help lists what there is' });
    if (name === '--print-config') flags.set('print-config', 'true');
    else flags.set(name.slice(2), inline ?? argv[++i] ?? '');
  }
  return flags;
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

type Leaf = { readonly path: readonly string[]; readonly schema: Schema; readonly required: boolean };

/** Every key that is no mapping of keys, with its path. */
function leavesOf(schema: Schema, path: readonly string[] = [], required = true): Leaf[] {
  if (schema.properties === undefined) return [{ path, schema, required }];
  return Object.entries(schema.properties).flatMap(([name, child]) =>
    leavesOf(child, [...path, name], required && (schema.required ?? []).includes(name) && child.default === undefined),
  );
}

/** Fills defaults in; a mapping that must be there but is not is made, so that its own defaults apply. */
function withDefaults(value: unknown, schema: Schema, required = true): unknown {
  if (value === undefined && schema.default !== undefined) return schema.default;
  if (schema.properties === undefined || (value === undefined && !required)) return value;
  if (value !== undefined && !isTree(value)) return value;
  const filled: Tree = { ...value };
  for (const [name, child] of Object.entries(schema.properties)) {
    const made = withDefaults(filled[name], child, (schema.required ?? []).includes(name));
    if (made !== undefined) filled[name] = made;
  }
  return filled;
}

function fromText(text: string, schema: Schema): unknown {
  if (schema.type === 'integer' || schema.type === 'number') return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
  if (schema.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (schema.type === 'array') return text === '' ? [] : text.split(',').map((item) => fromText(item.trim(), schema.items ?? {}));
  return text;
}

function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const step of path.slice(0, -1)) {
    const next = at[step];
    at = isTree(next) ? next : ((at[step] = {}) as Tree);
  }
  const last = path.at(-1);
  if (last !== undefined) at[last] = value;
}

function place(problem: Problem, file: string | undefined, source: YamlDocument | undefined, schema: Schema): Problem {
  const unknown = /^unknown fields? "([^"]+)"/.exec(problem.message)?.[1];
  const path = unknown === undefined ? problem.path : [problem.path, unknown].filter((p) => p !== '').join('.');
  const where = file === undefined || source === undefined ? path : `${file}:${source.lineOf(path)}: ${path}`;
  const known = leavesOf(schema).flatMap((l) => l.path);
  return { path: where, message: unknown === undefined ? problem.message : `unknown key${suggest(unknown, known)}` };
}

function unique(problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>();
  return problems.filter((p) => {
    const key = `${p.path} ${p.message}`;
    if (seen.has(key) || p.message === 'schema is false') return false;
    seen.add(key);
    return true;
  });
}

/** ` (did you mean …?)` for the nearest of the known names within two edits, or nothing. */
function suggest(name: string, known: readonly string[]): string {
  const best = known.map((k) => ({ k, d: editDistance(name.toLowerCase(), k.toLowerCase()) })).sort((a, b) => a.d - b.d)[0];
  return best !== undefined && best.d <= 2 ? ` (did you mean ${best.k}?)` : '';
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function snake(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/-/g, '_')
    .toUpperCase();
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What `--help` prints: a line a key, with type, default and meaning. */
export function helpText(program: string, schema: TSchema | Schema): string {
  const rows = leavesOf(schema as Schema).map(({ path, schema: leaf, required }) => ({
    key: path.join('.'),
    type: typeName(leaf),
    note: [leaf.default !== undefined ? `default ${JSON.stringify(leaf.default)}` : required ? 'required' : '', leaf.description ?? ''].filter((t) => t !== '').join('; '),
  }));
  const keyWidth = Math.max(...rows.map((r) => r.key.length));
  const typeWidth = Math.max(...rows.map((r) => r.type.length));
  return [
    `Usage: ${program} --config FILE [--KEY VALUE …] [--print-config]`,
    '',
    `Keys of the YAML file; each is also a flag (--listen.port 7100) and a variable (ISTHMUS_${snake(program)}_LISTEN_PORT).`,
    '',
    ...rows.map((r) => `  ${r.key.padEnd(keyWidth)}  ${r.type.padEnd(typeWidth)}  ${r.note}`),
    '',
  ].join('\n');
}

function typeName(schema: Schema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map((s) => (s.const === undefined ? typeName(s) : String(s.const))).join('|');
  if (schema.const !== undefined) return String(schema.const);
  return schema.type === 'array' ? `list of ${typeName(schema.items ?? {})}` : (schema.type ?? 'mapping');
}
