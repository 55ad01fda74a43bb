// Configuration: one schema a program; default < file < environment < flag; every problem at once, with file and line.
import { readFileSync } from 'node:fs';
import { compileSchema, ERROR_CLASSES, IsthmusError, messageOf, type Problem, type Static, type TSchema } from '@isthmus/model';
import { redact } from '@isthmus/telemetry';
import { type ConfigSchema, environmentName, environmentPrefix, fromText, helpText, isTree, type Key, keysOf, type Tree, typeName, withDefaults } from './config-schema.ts';
import { fail } from './errors.ts';
import { suggest } from './suggest.ts';
import { formatYaml, parseYaml, type YamlDocument } from './yaml.ts';

export type LoadConfigOptions<T extends TSchema> = {
  readonly program: string;
  readonly schema: T;
  /** The file read when `--config` names none. */
  readonly file?: string;
  /** Without the interpreter and script; the process's own without it. */
  readonly argv?: readonly string[];
  /** The process's own without it. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

/** The configuration, or the text that was asked for instead of running (`--help`, `--print-config`). */
export type ReadConfig<T> = { readonly kind: 'config'; readonly config: T } | { readonly kind: 'answer'; readonly text: string };

/**
 * The configuration of the process this runs in: for `main.ts`, before anything is opened. Answers `--help` and
 * `--print-config` with exit 0; a wrong configuration is written to stderr and ends the process with the exit code of
 * its class (65, 66). With `argv` given it **throws** CONFIG_INVALID, CONFIG_NOT_FOUND instead.
 */
export function loadConfig<T extends TSchema>(options: LoadConfigOptions<T>): Static<T> {
  try {
    const read = readConfig(options);
    if (read.kind === 'config') return read.config;
    process.stdout.write(read.text);
    process.exit(0);
  } catch (error) {
    if (options.argv !== undefined || !(error instanceof IsthmusError)) throw error;
    process.stderr.write(`${options.program}: ${error.message}\n${error.hint === undefined ? '' : `  hint: ${error.hint}\n`}`);
    process.exit(ERROR_CLASSES[error.class].exit);
  }
}

/**
 * Reads a configuration from `--config FILE` (YAML), `ISTHMUS_<PROGRAM>_<KEY>` variables (nested keys joined by `_`, in
 * upper snake case) and flags (`--listen.port 7100`). **Throws** CONFIG_INVALID with every problem and its place,
 * CONFIG_NOT_FOUND.
 */
export function readConfig<T extends TSchema>(options: LoadConfigOptions<T>): ReadConfig<Static<T>> {
  const { program } = options;
  const schema = options.schema as ConfigSchema;
  const argv = options.argv ?? process.argv.slice(2);
  const env = options.env ?? process.env;
  if (argv.includes('--help') || argv.includes('-h')) return { kind: 'answer', text: helpText(program, schema) };

  const problems: Problem[] = [];
  const flags = readFlags(argv, problems);
  const file = flags.values.get('config') ?? env[`${environmentPrefix(program)}CONFIG`] ?? options.file;
  const source = file === undefined ? undefined : readFile(file);
  const tree: Tree = isTree(source?.value) ? structuredClone(source.value) : {};
  const keys = keysOf(schema);
  /** Where a key was set, other than in the file. */
  const origins = new Map<string, string>();
  const set = (key: Key, text: string, origin: string): void => {
    setAt(tree, key.path, fromText(text, key.schema));
    origins.set(key.path.join('.'), origin);
  };
  readEnvironment(program, keys, env, set, problems);
  for (const [name, text] of flags.values) {
    if (name === 'config') continue;
    const key = keys.find((k) => k.path.join('.') === name);
    if (key === undefined) problems.push({ path: `--${name}`, message: `unknown flag${suggest(name, keys.map((k) => k.path.join('.')))}` });
    else set(key, text, `--${name}`);
  }

  const value = withDefaults(tree, schema);
  const place = (path: string): string => {
    const origin = origins.get(path.replace(/\[.*$/, ''));
    if (origin !== undefined) return origin;
    return file === undefined || source === undefined ? path : `${file}:${source.lineOf(path)}: ${path}`;
  };
  problems.push(...problemsOf(value, options.schema).map((p) => ({ path: place(p.path), message: p.message })));
  if (problems.length > 0) {
    const list = problems.map((p) => `  ${p.path === '' ? '' : `${p.path}: `}${p.message}`).join('\n');
    throw fail('CONFIG_INVALID', `the configuration is wrong:\n${list}`, { hint: '--help lists every key', facts: { problems: problems.length } });
  }
  if (flags.isPrintWanted) return { kind: 'answer', text: redact(formatYaml(value, (path) => originOf(path, origins, file, source))) };
  return { kind: 'config', config: value as Static<T> };
}

/** Everything wrong with a value: unknown and missing keys by their names, the rest as the schema says. */
function problemsOf(value: unknown, schema: TSchema): readonly Problem[] {
  const own: Problem[] = [];
  const walked = new Set<string>();
  walk(value, schema as ConfigSchema, '', own, walked);
  const checked = compileSchema(schema)(value);
  if (checked.ok) return own;
  const others = checked.problems.filter((p) => !(walked.has(p.path) && /^(unknown field|must have required)/.test(p.message)) && !own.some((o) => o.path === p.path));
  return [...own, ...others];
}

function walk(value: unknown, schema: ConfigSchema, path: string, problems: Problem[], walked: Set<string>): void {
  if (schema.type === 'array' && Array.isArray(value)) value.forEach((item, i) => walk(item, schema.items ?? {}, `${path}[${i}]`, problems, walked));
  if (schema.properties === undefined || !isTree(value)) return;
  walked.add(path);
  const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
  const known = Object.keys(schema.properties);
  for (const name of Object.keys(value)) {
    if (!known.includes(name) && schema.additionalProperties === false) problems.push({ path: at(name), message: `unknown key${suggest(name, known)}` });
  }
  for (const [name, child] of Object.entries(schema.properties)) {
    if (Object.hasOwn(value, name)) walk(value[name], child, at(name), problems, walked);
    else if ((schema.required ?? []).includes(name)) {
      problems.push({ path: at(name), message: `is missing (${typeName(child)}${child.description === undefined ? '' : `: ${child.description}`})` });
    }
  }
}

function readFile(file: string): YamlDocument {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fail('CONFIG_NOT_FOUND', `the configuration file ${file} cannot be read: ${messageOf(error)}`, { hint: 'name it with --config FILE', cause: error });
  }
  const read = parseYaml(text, file);
  if (!read.ok) throw fail('CONFIG_INVALID', `the configuration is wrong:\n${read.problems.map((p) => `  ${p.path}: ${p.message}`).join('\n')}`);
  const [document, ...more] = read.value;
  if (more.length > 0) throw fail('CONFIG_INVALID', `${file}: holds more than one document`);
  if (document !== undefined && document.value !== null && !isTree(document.value)) throw fail('CONFIG_INVALID', `${file}:1: must be a mapping of keys`);
  return document ?? { value: {}, lineOf: () => 1, has: () => false };
}

type Flags = { readonly values: ReadonlyMap<string, string>; readonly isPrintWanted: boolean };

function readFlags(argv: readonly string[], problems: Problem[]): Flags {
  const values = new Map<string, string>();
  let isPrintWanted = false;
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] ?? '';
    const [, name, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
    const next = argv[i + 1];
    if (name === undefined) problems.push({ path: argument, message: 'is no flag' });
    else if (argument === '--print-config') isPrintWanted = true;
    else if (inline !== undefined) values.set(name, inline);
    else if (next === undefined || next.startsWith('--')) problems.push({ path: `--${name}`, message: 'needs a value' });
    else {
      values.set(name, next);
      i += 1;
    }
  }
  return { values, isPrintWanted };
}

/** Variables Kubernetes sets in every pod for a service that is called like the program; they are not ours. */
const KUBERNETES_SERVICE_LINK = /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

function readEnvironment(
  program: string,
  keys: readonly Key[],
  env: Readonly<Record<string, string | undefined>>,
  set: (key: Key, text: string, origin: string) => void,
  problems: Problem[],
): void {
  const prefix = environmentPrefix(program);
  const byName = new Map(keys.map((key) => [environmentName(program, key.path), key]));
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(prefix) || name === `${prefix}CONFIG`) continue;
    const key = byName.get(name);
    if (key !== undefined && !(KUBERNETES_SERVICE_LINK.test(name) && /^\w+:\/\//.test(text))) set(key, text, name);
    else if (!KUBERNETES_SERVICE_LINK.test(name)) problems.push({ path: name, message: `unknown variable${suggest(name, byName.keys())}` });
  }
}

function originOf(path: string, origins: ReadonlyMap<string, string>, file: string | undefined, source: YamlDocument | undefined): string {
  const origin = origins.get(path);
  if (origin !== undefined) return origin;
  return file !== undefined && source !== undefined && source.has(path) ? `${file}:${source.lineOf(path)}` : 'default';
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
