// The codec of values: msgpack as Terraform writes it, checked against the type the schema says, and the JSON of stored state.
import { decode, encode, ExtensionCodec } from '@msgpack/msgpack';
import { messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';
import type { AttributeType } from './attribute.ts';
import { isObject, Unknown, UNKNOWN, type Value } from './value.ts';

/** The largest value taken: as much as a gRPC message holds. */
export const MAX_VALUE_BYTES = 8 * 1024 * 1024;
const MAX_ITEMS = 100_000;

/** Extension types of cty's msgpack: 0 is unknown, 12 unknown with refinements. */
const EXT_UNKNOWN = 0;
const EXT_REFINED = 12;

const extensionCodec = new ExtensionCodec();
extensionCodec.register({
  type: EXT_UNKNOWN,
  encode: (value) => (value instanceof Unknown && value.refinement === undefined ? Uint8Array.of(0) : null),
  decode: () => UNKNOWN,
});
extensionCodec.register({
  type: EXT_REFINED,
  encode: (value) => (value instanceof Unknown && value.refinement !== undefined ? value.refinement : null),
  decode: (data) => new Unknown(Uint8Array.from(data)),
});

const MAX_EXTENSION_BYTES = 4_096;
// The decoder reads what an extension holds as binary, which by itself is refused below.
const LIMITS = { maxStrLength: MAX_VALUE_BYTES, maxArrayLength: MAX_ITEMS, maxMapLength: MAX_ITEMS, maxBinLength: MAX_EXTENSION_BYTES, maxExtLength: MAX_EXTENSION_BYTES };

/** Reads a value of a type. **Throws** TERRAFORM_VALUE_INVALID naming the place. **Bounds** 8 MiB, 100,000 items of one collection. */
export function decodeValue(type: AttributeType, bytes: Uint8Array): Value {
  if (bytes.byteLength > MAX_VALUE_BYTES) throw fail('TERRAFORM_VALUE_INVALID', `a value of ${bytes.byteLength} bytes is larger than ${MAX_VALUE_BYTES}`);
  let raw: unknown;
  try {
    raw = decode(bytes, { ...LIMITS, extensionCodec, useBigInt64: true });
  } catch (error) {
    throw fail('TERRAFORM_VALUE_INVALID', `a value is not msgpack as Terraform writes it: ${messageOf(error)}`);
  }
  return toValue(type, raw, { path: '', isStored: false });
}

/** Writes a value of a type; attributes that are not there are null. **Throws** TERRAFORM_VALUE_INVALID. */
export function encodeValue(type: AttributeType, value: Value): Uint8Array {
  return encode(toValue(type, value, { path: '', isStored: false }), { extensionCodec });
}

/** Reads stored state: names of another version are left out, attributes that are not there are null. **Throws** TERRAFORM_VALUE_INVALID. */
export function valueFromJson(type: AttributeType, json: string): Value {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (error) {
    throw fail('TERRAFORM_VALUE_INVALID', `the stored state is not JSON: ${messageOf(error)}`);
  }
  return toValue(type, raw, { path: '', isStored: true });
}

type Place = { readonly path: string; readonly isStored: boolean };

function toValue(type: AttributeType, raw: unknown, place: Place): Value {
  if (raw === null || raw === undefined) return null;
  if (raw instanceof Unknown) return raw;
  switch (type.kind) {
    case 'string':
      return typeof raw === 'string' ? raw : wrong(type, raw, place);
    case 'bool':
      return typeof raw === 'boolean' ? raw : wrong(type, raw, place);
    case 'number':
      return toNumber(raw, place);
    case 'list':
    case 'set':
      if (!Array.isArray(raw)) return wrong(type, raw, place);
      return raw.map((item, i) => toValue(type.element, item, { ...place, path: `${place.path}[${i}]` }));
    case 'map':
      if (!isRecord(raw)) return wrong(type, raw, place);
      return Object.fromEntries(Object.entries(raw).map(([key, item]) => [key, toValue(type.element, item, { ...place, path: below(place, key) })]));
    case 'object':
      return toObject(type, raw, place);
  }
}

function toObject(type: Extract<AttributeType, { kind: 'object' }>, raw: unknown, place: Place): Value {
  if (!isRecord(raw)) return wrong(type, raw, place);
  const extra = Object.keys(raw).find((name) => !Object.hasOwn(type.attributes, name));
  if (extra !== undefined && !place.isStored) throw fail('TERRAFORM_VALUE_INVALID', `${below(place, extra)} is in no schema`);
  return Object.fromEntries(
    Object.entries(type.attributes).map(([name, attribute]) => [name, toValue(attribute.type, Object.hasOwn(raw, name) ? raw[name] : null, { ...place, path: below(place, name) })]),
  );
}

/** Terraform writes numbers that no machine number holds as text; those that lose nothing are taken. */
function toNumber(raw: unknown, place: Place): Value {
  const number = typeof raw === 'number' ? raw : typeof raw === 'bigint' || (typeof raw === 'string' && /^-?[0-9.]+(e[+-]?[0-9]+)?$/i.test(raw)) ? Number(raw) : Number.NaN;
  if (!Number.isFinite(number)) return wrong({ kind: 'number' }, raw, place);
  if (typeof raw === 'bigint' && BigInt(number) !== raw) throw fail('TERRAFORM_VALUE_INVALID', `${place.path}: ${raw} is too large to be kept exactly`);
  return number;
}

function isRecord(raw: unknown): raw is Readonly<Record<string, unknown>> {
  return isObject(raw as Value) && !(raw instanceof Uint8Array);
}

function wrong(type: AttributeType, raw: unknown, place: Place): never {
  throw fail('TERRAFORM_VALUE_INVALID', `${place.path === '' ? 'the value' : place.path} is to be a ${type.kind}, not a ${Array.isArray(raw) ? 'list' : typeof raw}`);
}

function below(place: Place, name: string): string {
  return place.path === '' ? name : `${place.path}.${name}`;
}
