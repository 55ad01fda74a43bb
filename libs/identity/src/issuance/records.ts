// Records of issuance in the store: read as what they should be, and left out, with a word in the log, where they are not.
import type { Parsed } from '@isthmus/model';
import type { Store } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';

/** All below a prefix that parse. */
export async function readRecords<T>(parts: { readonly store: Store; readonly log: Log }, prefix: string, parse: (input: unknown) => Parsed<T>): Promise<T[]> {
  const { entries } = await parts.store.list(prefix);
  return entries.flatMap(({ key, value }) => {
    const parsed = parseRecord(value, parse);
    if (parsed !== undefined) return [parsed];
    parts.log.warn('a record in the store does not parse and is skipped', { key });
    return [];
  });
}

/** One record, or undefined where it is not of this shape. */
export function parseRecord<T>(value: Buffer, parse: (input: unknown) => Parsed<T>): T | undefined {
  try {
    const result = parse(JSON.parse(value.toString()));
    return result.ok ? result.value : undefined;
  } catch {
    return undefined;
  }
}
