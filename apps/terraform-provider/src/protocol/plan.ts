// What a change will make of a thing, before anything is changed: known values, those only known after, and whether it must be made anew.
import { hasUnknown, isObject, isSame, Unknown, UNKNOWN, UNKNOWN_NOT_NULL, type Value, type ValueObject } from './value.ts';
import type { Attribute, Attributes } from './attribute.ts';

export type PlanRequest = {
  readonly attributes: Attributes;
  readonly config: ValueObject;
  /** Null where it is to be created. */
  readonly prior: ValueObject | null;
  /** Terraform's own merge of both. */
  readonly proposed: ValueObject;
};

/** The state that is planned: what the person gave stands; what is computed is kept, or unknown where it may change. */
export function plannedState({ attributes, config, prior, proposed }: PlanRequest): ValueObject {
  const isChanged = prior === null || Object.entries(attributes).some(([name, a]) => a.mode !== 'computed' && name !== 'timeouts' && !isUnset(a, config[name]) && !isSame(prior[name], proposed[name]));
  return Object.fromEntries(
    Object.entries(attributes).map(([name, attribute]): [string, Value] => {
      const value = proposed[name] ?? null;
      if (attribute.mode === 'required' || attribute.mode === 'optional' || !isUnset(attribute, config[name])) return [name, value];
      if (prior === null || (isChanged && attribute.isVolatile === true)) return [name, attribute.isNullable === true ? UNKNOWN : UNKNOWN_NOT_NULL];
      return [name, value];
    }),
  );
}

/** Attributes whose change needs a new thing, but those in `keeps`. */
export function replacedBy(attributes: Attributes, prior: ValueObject | null, planned: ValueObject, keeps: readonly string[] = []): readonly string[] {
  if (prior === null) return [];
  return Object.entries(attributes)
    .filter(([name, attribute]) => attribute.replaces === true && !keeps.includes(name) && !isSame(prior[name] ?? null, planned[name] ?? null))
    .map(([name]) => name);
}

/** State after an operation with nothing unknown left: Terraform takes no other. */
export function settled(attributes: Attributes, state: ValueObject): ValueObject {
  return Object.fromEntries(Object.keys(attributes).map((name): [string, Value] => [name, withoutUnknown(state[name] ?? null)]));
}

function withoutUnknown(value: Value): Value {
  if (value instanceof Unknown) return null;
  if (!hasUnknown(value)) return value;
  if (Array.isArray(value)) return value.map(withoutUnknown);
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutUnknown(item)])) : value;
}

function isUnset(attribute: Attribute, configured: Value | undefined): boolean {
  return attribute.mode === 'computed' || configured === null || configured === undefined;
}
