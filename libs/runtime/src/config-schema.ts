// A configuration schema as keys: their paths, environment names, defaults, and what --help says of them.
import type { TSchema } from '@isthmus/model';

/** The parts of JSON Schema that configurations are made of. */
export type ConfigSchema = {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, ConfigSchema>>;
  readonly additionalProperties?: unknown;
  readonly required?: readonly string[];
  readonly items?: ConfigSchema;
  readonly anyOf?: readonly ConfigSchema[];
};

export type Tree = { [key: string]: unknown };

/** A key that is no mapping of keys. `required` means: no default, and every mapping around it must be there too. */
export type Key = { readonly path: readonly string[]; readonly schema: ConfigSchema; readonly isRequired: boolean };

/** Every key of a schema, in its order. */
export function keysOf(schema: ConfigSchema, path: readonly string[] = [], isRequired = true): readonly Key[] {
  if (schema.properties === undefined) return [{ path, schema, isRequired }];
  return Object.entries(schema.properties).flatMap(([name, child]) =>
    keysOf(child, [...path, name], isRequired && (schema.required ?? []).includes(name) && child.default === undefined),
  );
}

/** `ISTHMUS_<PROGRAM>_`: what the environment names of a program begin with. */
export function environmentPrefix(program: string): string {
  return `ISTHMUS_${upperSnake(program)}_`;
}

/** `ISTHMUS_CONTROL_PLANE_LISTEN_PORT` for `listen.port` of `control-plane`. */
export function environmentName(program: string, path: readonly string[]): string {
  return environmentPrefix(program) + path.map(upperSnake).join('_');
}

/**
 * The value with defaults filled in. A mapping that must be there but is not is made, so that the defaults inside it
 * apply; one that may be left out stays out.
 */
export function withDefaults(value: unknown, schema: ConfigSchema, isRequired = true): unknown {
  if (value === undefined && schema.default !== undefined) return structuredClone(schema.default);
  if (schema.type === 'array' && Array.isArray(value)) return value.map((item) => withDefaults(item, schema.items ?? {}));
  if (schema.properties === undefined || (value === undefined && !isRequired)) return value;
  if (value !== undefined && !isTree(value)) return value;
  const filled: Tree = { ...value };
  for (const [name, child] of Object.entries(schema.properties)) {
    const made = withDefaults(filled[name], child, (schema.required ?? []).includes(name));
    if (made !== undefined) filled[name] = made;
  }
  return filled;
}

/** A value from the environment or a flag, where all is text; lists are comma-separated. What does not fit stays text. */
export function fromText(text: string, schema: ConfigSchema): unknown {
  if (schema.type === 'integer' || schema.type === 'number') return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
  if (schema.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (schema.type === 'array') return text === '' ? [] : text.split(',').map((item) => fromText(item.trim(), schema.items ?? {}));
  return text;
}

/** What `--help` prints: a line a key, with type, default and meaning. */
export function helpText(program: string, schema: TSchema | ConfigSchema): string {
  const rows = keysOf(schema as ConfigSchema).map(({ path, schema: key, isRequired }) => {
    const standing = key.default !== undefined ? `default ${JSON.stringify(key.default)}` : isRequired ? 'required' : '';
    return { key: path.join('.'), type: typeName(key), note: [key.description ?? '', standing === '' ? '' : `[${standing}]`].filter((t) => t !== '').join(' ') };
  });
  const keyWidth = Math.max(...rows.map((r) => r.key.length));
  const typeWidth = Math.max(...rows.map((r) => r.type.length));
  return [
    `Usage: ${program} --config FILE [--KEY VALUE …] [--print-config]`,
    '',
    `Keys of the YAML file. Each is also a flag (--log.level debug) and a variable (${environmentPrefix(program)}LOG_LEVEL);`,
    'a flag goes before a variable, that before the file, and that before the default. --print-config shows what is in force.',
    '',
    ...rows.map((r) => `  ${r.key.padEnd(keyWidth)}  ${r.type.padEnd(typeWidth)}  ${r.note}`.trimEnd()),
    '',
  ].join('\n');
}

/** A schema's type as people read it: `string`, `embedded|etcd`, `list of string`. */
export function typeName(schema: ConfigSchema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map((s) => (s.const === undefined ? typeName(s) : String(s.const))).join('|');
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === 'array') return `list of ${typeName(schema.items ?? {})}`;
  return schema.type === undefined || schema.type === 'object' ? 'mapping' : schema.type;
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function upperSnake(name: string): string {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toUpperCase();
}
