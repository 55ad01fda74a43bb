// The door to typebox: schemas are JSON Schema, checked strictly where people write and tolerantly where programs of another version do.
import { type Static, type TProperties, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { DNS_LABEL_PATTERN } from './name.ts';
import { type Parsed, type Problem, parsed } from './problem.ts';

export { type Static, type TSchema, Type };

/** Problems one check may find; typebox would stop at 8, and people are told of all. */
Settings.Set({ maxErrors: 64 });
/** Problems handed on. */
const MAX_PROBLEMS = 20;

/** An object that refuses unknown fields: for everything people write. */
export function strict<P extends TProperties>(properties: P) {
  return Type.Object(properties, { additionalProperties: false });
}

/** A mapping by DNS label, such as ports by name; a key that is none is refused, in messages of any version. */
export function byLabel<V extends TSchema>(value: V, options: { readonly minProperties?: number; readonly description?: string } = {}) {
  return Type.Record(schemas.dnsLabel, value, { additionalProperties: false, ...options });
}

/** A DNS label with what it is for, in words that OpenAPI and Terraform show. */
export function dnsLabel(description: string) {
  return Type.String({ pattern: DNS_LABEL_PATTERN, maxLength: 63, description });
}

export const schemas = {
  dnsLabel: Type.String({ pattern: DNS_LABEL_PATTERN, maxLength: 63 }),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  /** An IP address or a host name, checked for its characters and length only. */
  host: Type.String({ pattern: '^[A-Za-z0-9.:_-]+$', minLength: 1, maxLength: 253 }),
  hostPort: Type.String({ pattern: '^(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$', maxLength: 260 }),
  labels: Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 253 })),
} as const;

/** Compiles a schema into a parser that names every problem by its path. */
export function compileSchema<T extends TSchema>(schema: T): (input: unknown) => Parsed<Static<T>> {
  // At its first use: a process uses few of all schemas, and each takes half a megabyte compiled.
  let check: ReturnType<typeof Compile<T>> | undefined;
  return (input) => {
    check ??= Compile(schema);
    if (check.Check(input)) return parsed(input as Static<T>);
    return { ok: false, problems: problemsOf(check.Errors(input)).slice(0, MAX_PROBLEMS) };
  };
}

type SchemaError = { readonly keyword: string; readonly instancePath: string; readonly message: string; readonly params: object };

/** A problem a place: what a union would have taken there is said in one sentence. */
function problemsOf(errors: Iterable<SchemaError>): readonly Problem[] {
  const byPath = new Map<string, { readonly messages: Set<string>; isUnion: boolean }>();
  for (const error of errors) {
    if (error.message === 'schema is false') continue; // said better by its parent's `unknown field`
    const path = toPath(error.instancePath);
    const found = byPath.get(path) ?? { messages: new Set<string>(), isUnion: false };
    byPath.set(path, found);
    if (error.keyword === 'anyOf') found.isUnion = true;
    else found.messages.add(describe(error));
  }
  return [...byPath].flatMap(([path, { messages, isUnion }]) => {
    if (messages.size === 0) return [{ path, message: 'is none of the forms allowed here' }];
    if (!isUnion) return [...messages].map((message) => ({ path, message }));
    if (![...messages].every((m) => m.startsWith('must be '))) return [{ path, message: `is none of the forms allowed here: ${[...messages].join('; ')}` }];
    return [{ path, message: `must be ${[...messages].map((m) => m.replace(/^must be /, '')).join(' or ')}` }];
  });
}

function toPath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part, i) => (/^\d+$/.test(part) ? `[${part}]` : `${i === 0 ? '' : '.'}${part}`))
    .join('');
}

function describe(error: SchemaError): string {
  if (error.keyword === 'additionalProperties') {
    const names = (error.params as { additionalProperties?: readonly string[] }).additionalProperties ?? [];
    return `unknown field${names.length === 1 ? '' : 's'} ${names.map((n) => JSON.stringify(n)).join(', ')}`;
  }
  if (error.keyword === 'pattern' && (error.params as { pattern?: string | RegExp }).pattern?.toString().includes(DNS_LABEL_PATTERN)) {
    return 'must be a DNS label (1-63 of a-z, 0-9 and -, no - at either end)';
  }
  if (error.keyword === 'const') return `must be ${JSON.stringify((error.params as { allowedValue?: unknown }).allowedValue)}`;
  return error.message;
}
