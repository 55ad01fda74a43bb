// The one-time token of a first start.
import { readFile } from 'node:fs/promises';

/** The token of a file; undefined when it is gone, as it may be after the first start. */
export function readToken(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
