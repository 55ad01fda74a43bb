// State files of this lib: JSON of a known shape, whole or not at all.
import { formatProblems, type Parsed } from '@isthmus/model';
import { openStateFile } from '@isthmus/runtime';
import { fail } from './errors.ts';

/** A value on disk, 0600, replaced as a whole and fsynced. Reading and writing throw runtime's STATE_* codes. */
export interface StateOf<T> {
  /** **Throws** IDENTITY_STATE_CORRUPT when the file is whole but not of this shape. */
  read(): Promise<T | undefined>;
  write(value: T): Promise<void>;
}

export function openJsonState<T>(path: string, parse: (input: unknown) => Parsed<T>, maxBytes: number): StateOf<T> {
  const file = openStateFile(path, { maxBytes });
  return {
    async read() {
      const text = await file.read();
      if (text === undefined) return undefined;
      const result = parse(parseJson(text, path));
      if (result.ok) return result.value;
      throw fail('IDENTITY_STATE_CORRUPT', `${path} is not what this program writes: ${formatProblems(result.problems)}`, {
        hint: 'restore the file from a backup, or remove it to begin anew',
      });
    },
    write: (value) => file.write(JSON.stringify(value)),
  };
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail('IDENTITY_STATE_CORRUPT', `${path} is no JSON`, { cause, hint: 'restore the file from a backup' });
  }
}
