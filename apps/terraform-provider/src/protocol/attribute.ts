// What a resource looks like to Terraform: attributes with their types, and the same as the protocol's schema.
import { terraform } from '@isthmus/rpc';

/** A type of a value. Source: Terraform's type system (string, number, bool, list, set, map, object). */
export type AttributeType =
  | { readonly kind: 'string' | 'number' | 'bool' }
  | { readonly kind: 'list' | 'set' | 'map'; readonly element: AttributeType }
  | { readonly kind: 'object'; readonly attributes: Attributes };

/** Who gives the value: the person (must or may), the provider, or either. */
export type Mode = 'required' | 'optional' | 'computed' | 'optional-computed';

export type Attribute = {
  readonly type: AttributeType;
  readonly mode: Mode;
  /** Markdown, a sentence or two. */
  readonly description: string;
  readonly isSensitive?: boolean;
  /** A change of it makes a new thing in place of the old one. */
  readonly replaces?: boolean;
  /** Of a computed one: every change of the thing may change it. */
  readonly isVolatile?: boolean;
  /** Of a computed one: it may be null. */
  readonly isNullable?: boolean;
};
export type Attributes = Readonly<Record<string, Attribute>>;

export const STRING: AttributeType = { kind: 'string' };
export const NUMBER: AttributeType = { kind: 'number' };
export const BOOL: AttributeType = { kind: 'bool' };
export const objectOf = (attributes: Attributes): AttributeType => ({ kind: 'object', attributes });
export const listOf = (element: AttributeType): AttributeType => ({ kind: 'list', element });
export const setOf = (element: AttributeType): AttributeType => ({ kind: 'set', element });
export const mapOf = (element: AttributeType): AttributeType => ({ kind: 'map', element });

/** Attributes of one block as the protocol's schema. */
export function toSchema(attributes: Attributes, description: string, version = 0): terraform.Schema {
  return {
    version: BigInt(version),
    block: { version: BigInt(version), attributes: wireAttributes(attributes), description, descriptionKind: terraform.StringKind.MARKDOWN },
  };
}

function wireAttributes(attributes: Attributes): terraform.Schema_Attribute[] {
  return Object.entries(attributes).map(([name, attribute]) => ({
    name,
    ...wireType(attribute.type),
    description: attribute.description,
    required: attribute.mode === 'required',
    optional: attribute.mode === 'optional' || attribute.mode === 'optional-computed',
    computed: attribute.mode === 'computed' || attribute.mode === 'optional-computed',
    sensitive: attribute.isSensitive === true,
    descriptionKind: terraform.StringKind.MARKDOWN,
  }));
}

/** Objects and collections of them are nested attributes, with a description each; the rest is a type in JSON. */
function wireType(type: AttributeType): Pick<terraform.Schema_Attribute, 'type' | 'nestedType'> {
  const nested = (attributes: Attributes, nesting: terraform.Schema_Object_NestingMode): Pick<terraform.Schema_Attribute, 'type' | 'nestedType'> => ({
    type: Buffer.alloc(0),
    nestedType: { attributes: wireAttributes(attributes), nesting },
  });
  const { SINGLE, LIST, SET, MAP } = terraform.Schema_Object_NestingMode;
  if (type.kind === 'object') return nested(type.attributes, SINGLE);
  if ('element' in type && type.element.kind === 'object') return nested(type.element.attributes, { list: LIST, set: SET, map: MAP }[type.kind]);
  return { type: Buffer.from(JSON.stringify(typeToJson(type))), nestedType: undefined };
}

/** A type in Terraform's JSON form, such as `["list","string"]`. */
export function typeToJson(type: AttributeType): unknown {
  if (type.kind === 'object') return ['object', Object.fromEntries(Object.entries(type.attributes).map(([name, a]) => [name, typeToJson(a.type)]))];
  return 'element' in type ? [type.kind, typeToJson(type.element)] : type.kind;
}
