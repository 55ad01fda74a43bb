// Values as Terraform has them: known, null, or not known before something else is made.

/**
 * A value that is not known yet. `refinement` is what Terraform knows of it all the same, in its own bytes: they go back as
 * they came, since Terraform compares them.
 */
export class Unknown {
  readonly refinement: Uint8Array | undefined;

  constructor(refinement?: Uint8Array) {
    this.refinement = refinement;
  }
}

/** Not known, and nothing is known of it. */
export const UNKNOWN = new Unknown();
/** Not known, but it will not be null: a map of one entry, 1 (nullness) to false. */
export const UNKNOWN_NOT_NULL = new Unknown(Uint8Array.of(0x81, 0x01, 0xc2));

/** A value; lists and sets are arrays, maps and objects are objects, and every attribute of an object is there. */
export type Value = null | boolean | number | string | Unknown | readonly Value[] | ValueObject;
export type ValueObject = { readonly [name: string]: Value };

export function isObject(value: Value | undefined): value is ValueObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Unknown);
}

/** Whether any part of it is unknown. */
export function hasUnknown(value: Value): boolean {
  if (value instanceof Unknown) return true;
  if (Array.isArray(value)) return value.some(hasUnknown);
  return isObject(value) && Object.values(value).some(hasUnknown);
}

/** Whether two values are the same; what is unknown is the same as nothing. Sets must come in one order, as Terraform sends them. */
export function isSame(a: Value | undefined, b: Value | undefined): boolean {
  if (a instanceof Unknown || b instanceof Unknown) return false;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item: Value, i) => isSame(item, b[i] as Value | undefined));
  if (isObject(a) && isObject(b)) {
    const names = Object.keys(a);
    return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isSame(a[name], b[name]));
  }
  return a === b;
}

/** The text at a name, where there is one. */
export function textAt(object: ValueObject, name: string): string | undefined {
  const value = object[name];
  return typeof value === 'string' ? value : undefined;
}

/** The number at a name, where there is one. */
export function numberAt(object: ValueObject, name: string): number | undefined {
  const value = object[name];
  return typeof value === 'number' ? value : undefined;
}

/** The texts of a list or set at a name. */
export function textsAt(object: ValueObject, name: string): readonly string[] {
  const value = object[name];
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
