// From the model's schemas, which validate everywhere else, to Terraform's: attributes, values and problems of the same fields.
import { compileSchema, type Problem, type TSchema } from '@isthmus/model';
import { type Attribute, type Attributes, type AttributeType, BOOL, listOf, mapOf, NUMBER, objectOf, setOf, STRING } from './protocol/attribute.ts';
import { hasUnknown, isObject, type Value, type ValueObject } from './protocol/value.ts';

/** JSON Schema as far as the model's schemas use it. */
type Json = {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Json>>;
  readonly required?: readonly string[];
  readonly items?: Json;
  readonly patternProperties?: Readonly<Record<string, Json>>;
  readonly anyOf?: readonly Json[];
  readonly const?: unknown;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
};

/** What Terraform says where the API says `all`: no name of anything. */
export const ALL = '*';

export type AttributeOptions = {
  /** Attributes whose change needs a new thing. */
  readonly replaces?: readonly string[];
  readonly sensitive?: readonly string[];
  /** Fields that are no attributes. */
  readonly without?: readonly string[];
};

/** `ttlSeconds` as `ttl_seconds`. */
export function toSnake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The attributes of an object's schema; `kind`, which says what a document is, is none. */
export function attributesOf(schema: TSchema, options: AttributeOptions = {}): Attributes {
  return attributesOfJson(schema as Json, options);
}

function attributesOfJson(schema: Json, { replaces = [], sensitive = [], without = [] }: AttributeOptions = {}): Attributes {
  return Object.fromEntries(
    fieldsOf(schema).filter(({ field }) => !without.includes(field)).map(({ field, json, isRequired }): [string, Attribute] => {
      const name = toSnake(field);
      return [name, { type: typeOf(json), mode: isRequired ? 'required' : 'optional', description: describe(json), ...(replaces.includes(name) && { replaces: true }), ...(sensitive.includes(name) && { isSensitive: true }) }];
    }),
  );
}

type Field = { readonly field: string; readonly json: Json; readonly isRequired: boolean };

/** Fields of an object, or of all forms an object may have: then those of one form only are optional. */
function fieldsOf(schema: Json): readonly Field[] {
  if (schema.anyOf !== undefined) return mergedFields(schema.anyOf);
  return Object.entries(schema.properties ?? {})
    .filter(([field, json]) => !(field === 'kind' && json.const !== undefined))
    .map(([field, json]) => ({ field, json, isRequired: schema.required?.includes(field) === true }));
}

function mergedFields(forms: readonly Json[]): readonly Field[] {
  const names = [...new Set(forms.flatMap((form) => Object.keys(form.properties ?? {})))];
  return names.map((field) => {
    const having = forms.flatMap((form) => form.properties?.[field] ?? []);
    const isChoice = having.every((json) => json.const !== undefined);
    const [first = {}] = having;
    return { field, json: isChoice ? { anyOf: having, ...(first.description !== undefined && { description: first.description }) } : first, isRequired: forms.every((form) => form.required?.includes(field) === true) };
  });
}

/** Lists of plain values are sets: their order means nothing in any of our documents. */
function typeOf(schema: Json): AttributeType {
  if (schema.anyOf !== undefined) {
    const { anyOf } = schema;
    if (isAllOr(schema)) return setOf(STRING);
    if (anyOf.every((form) => form.const !== undefined)) return typeof anyOf[0]?.const === 'number' ? NUMBER : STRING;
    return objectOf(attributesOfJson(schema));
  }
  switch (schema.type) {
    case 'array': {
      const element = typeOf(schema.items ?? {});
      return element.kind === 'object' ? listOf(element) : setOf(element);
    }
    case 'object':
      return schema.patternProperties === undefined ? objectOf(attributesOfJson(schema)) : mapOf(typeOf(Object.values(schema.patternProperties)[0] ?? {}));
    case 'integer':
    case 'number':
      return NUMBER;
    case 'boolean':
      return BOOL;
    default:
      return typeof schema.const === 'number' ? NUMBER : STRING;
  }
}

/** `all`, or names. */
function isAllOr(schema: Json): boolean {
  return schema.anyOf?.some((form) => form.const === 'all') === true && schema.anyOf.some((form) => form.type === 'array');
}

/** The schema's own words, and after them its limits. */
function describe(schema: Json): string {
  const choices = (schema.anyOf ?? []).flatMap((form) => (form.const === undefined || isAllOr(schema) ? [] : [`\`${String(form.const)}\``]));
  const limits = [
    ...(choices.length > 0 ? [`One of ${choices.join(', ')}.`] : []),
    ...(isAllOr(schema) ? [`\`["${ALL}"]\` is all.`] : []),
    ...(schema.minimum !== undefined && schema.maximum !== undefined ? [`From ${schema.minimum} to ${schema.maximum}.`] : []),
    ...(schema.maxItems === undefined ? [] : [`At most ${schema.maxItems}.`]),
    ...(schema.default === undefined ? [] : [`Default \`${String(schema.default)}\`.`]),
  ];
  const text = schema.description ?? '';
  return [text === '' || /[.!?]$/.test(text) ? text : `${text}.`, ...limits].filter((part) => part !== '').join(' ');
}

/** A value as the API's document: names in its form, what is null left out. Nothing in it may be unknown. */
export function toDocument(schema: TSchema, value: ValueObject): Record<string, unknown> {
  return documentOf(schema as Json, value) as Record<string, unknown>;
}

function documentOf(schema: Json, value: Value): unknown {
  if (isAllOr(schema)) return Array.isArray(value) && value.length === 1 && value[0] === ALL ? 'all' : value;
  if (isObject(value)) {
    if (schema.patternProperties !== undefined) return { ...value };
    const fixed = Object.entries(schema.properties ?? {}).flatMap(([field, json]) => (field === 'kind' && json.const !== undefined ? [[field, json.const] as const] : []));
    const fields = fieldsOf(schema).flatMap(({ field, json }) => {
      const item = value[toSnake(field)];
      return item === null || item === undefined ? [] : [[field, documentOf(json, item)] as const];
    });
    return Object.fromEntries([...fixed, ...fields]);
  }
  return Array.isArray(value) ? value.map((item: Value) => documentOf(schema.items ?? {}, item)) : value;
}

/** The API's document as a value: what it has beside the schema's fields is left out, what is not there is null. */
export function fromDocument(schema: TSchema, document: unknown): ValueObject {
  const value = valueOf(schema as Json, document);
  return isObject(value) ? value : {};
}

function valueOf(schema: Json, document: unknown): Value {
  if (document === null || document === undefined) return null;
  if (isAllOr(schema)) return document === 'all' ? [ALL] : toTexts(document);
  if (Array.isArray(document)) return document.map((item) => valueOf(schema.items ?? {}, item));
  if (typeof document === 'object') {
    if (schema.patternProperties !== undefined) return Object.fromEntries(Object.entries(document).map(([key, item]) => [key, valueOf({}, item)]));
    return Object.fromEntries(fieldsOf(schema).map(({ field, json }) => [toSnake(field), valueOf(json, Object.hasOwn(document, field) ? (document as Record<string, unknown>)[field] : null)]));
  }
  return typeof document === 'string' || typeof document === 'number' || typeof document === 'boolean' ? document : null;
}

function toTexts(document: unknown): Value {
  return Array.isArray(document) ? document.filter((item) => typeof item === 'string') : null;
}

/**
 * What is wrong with a value as far as it is known, by the schema itself: a part that holds something unknown is looked at
 * field by field, so that a wrong port is told at plan time even where the name is not known yet.
 */
export function knownProblems(schema: TSchema, value: ValueObject): readonly Problem[] {
  return problemsAt(schema as Json, value, '');
}

function problemsAt(schema: Json, value: Value, path: string): readonly Problem[] {
  if (value === null) return [];
  if (!hasUnknown(value)) {
    const checked = compileSchema(schema as TSchema)(documentOf(schema, value));
    return checked.ok ? [] : checked.problems.map((p) => ({ path: join(path, snakePath(p.path)), message: p.message }));
  }
  if (Array.isArray(value)) return value.flatMap((item: Value, i) => problemsAt(isAllOr(schema) ? (schema.anyOf?.find((f) => f.items !== undefined)?.items ?? {}) : (schema.items ?? {}), item, `${path}[${i}]`));
  if (!isObject(value)) return [];
  if (schema.patternProperties !== undefined) return Object.entries(value).flatMap(([key, item]) => problemsAt(Object.values(schema.patternProperties ?? {})[0] ?? {}, item, join(path, key)));
  return fieldsOf(schema).flatMap(({ field, json }) => problemsAt(json, value[toSnake(field)] ?? null, join(path, toSnake(field))));
}

/** A path of the document as one of the attributes. */
export function snakePath(path: string): string {
  return path.split(/(?=[.[])/).map(toSnake).join('');
}

function join(path: string, below: string): string {
  return path === '' || below === '' || below.startsWith('[') ? path + below : `${path}.${below}`;
}
