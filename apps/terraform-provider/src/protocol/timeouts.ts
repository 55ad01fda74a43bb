// The attribute `timeouts` that every resource has: how long an operation may take, retries included.
import { parseDuration, type Problem } from '@isthmus/model';
import { type Attribute, objectOf, STRING } from './attribute.ts';
import { isObject, type ValueObject } from './value.ts';

export type OperationName = 'create' | 'read' | 'update' | 'delete';

export const DEFAULT_TIMEOUT_MS: Readonly<Record<OperationName, number>> = { create: 60_000, read: 30_000, update: 60_000, delete: 60_000 };

const NAMES = Object.keys(DEFAULT_TIMEOUT_MS) as OperationName[];

/** The attribute, with the defaults in its words. */
export const TIMEOUTS: Attribute = {
  type: objectOf(
    Object.fromEntries(NAMES.map((name) => [name, { type: STRING, mode: 'optional', description: `Limit of one ${name}, such as \`90s\` or \`5m\`; ${DEFAULT_TIMEOUT_MS[name] / 1_000}s without it.` } as const])),
  ),
  mode: 'optional',
  description: 'How long an operation may take, retries included.',
};

/** What is wrong with the limits of a configuration. */
export function timeoutProblems(config: ValueObject): readonly Problem[] {
  const timeouts = config['timeouts'];
  if (!isObject(timeouts)) return [];
  return NAMES.flatMap((name) => {
    const text = timeouts[name];
    if (typeof text !== 'string') return [];
    const parsed = parseDuration(text, `timeouts.${name}`);
    if (!parsed.ok) return parsed.problems;
    return parsed.value > 0 ? [] : [{ path: `timeouts.${name}`, message: 'must be more than nothing' }];
  });
}

/** The limit of one operation in milliseconds. */
export function timeoutMsOf(state: ValueObject, name: OperationName): number {
  const timeouts = state['timeouts'];
  const text = isObject(timeouts) ? timeouts[name] : undefined;
  const parsed = typeof text === 'string' ? parseDuration(text) : undefined;
  return parsed?.ok === true && parsed.value > 0 ? parsed.value : DEFAULT_TIMEOUT_MS[name];
}
