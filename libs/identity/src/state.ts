// State files of this lib: JSON of a known shape, whole or not at all.
import { rm } from 'node:fs/promises';
import { formatProblems, type Parsed } from '@isthmus/model';
import { openStateFile, writePrivateFile } from '@isthmus/runtime';
import { fail } from './errors.ts';

const PROBE_BYTES = 16 * 1024;
/** The version every state file of this lib carries. */
const STATE_VERSION = 1;

/** A value on disk, 0600, replaced as a whole and fsynced. Reading and writing throw runtime's STATE_* codes. */
export interface StateOf<T> {
  /** **Throws** IDENTITY_STATE_CORRUPT when the file is whole but not of this shape, IDENTITY_STATE_NEWER when a newer version wrote it. */
  read(): Promise<T | undefined>;
  write(value: T): Promise<void>;
  /** Writes and removes a file beside it, so that a full disk is found before a token is spent. **Throws** STATE_*. */
  checkWritable(): Promise<void>;
}

export function openJsonState<T>(path: string, parse: (input: unknown) => Parsed<T>, maxBytes: number): StateOf<T> {
  const file = openStateFile(path, { maxBytes });
  return {
    async read() {
      const text = await file.read();
      if (text === undefined) return undefined;
      const json = parseJson(text, path);
      const result = parse(json);
      if (result.ok) return result.value;
      refuseNewer(json, path);
      throw fail('IDENTITY_STATE_CORRUPT', `${path} is not what this program writes: ${formatProblems(result.problems)}`, {
        hint: 'restore the file from a backup, or remove it to begin anew',
      });
    },
    write: (value) => file.write(JSON.stringify(value)),
    async checkWritable() {
      await writePrivateFile(`${path}.probe`, Buffer.alloc(PROBE_BYTES));
      await rm(`${path}.probe`, { force: true });
    },
  };
}

/** After a downgrade: to begin anew would throw away keys that the newer version still needs. */
function refuseNewer(json: unknown, path: string): void {
  const version = typeof json === 'object' && json !== null && 'version' in json ? json.version : undefined;
  if (typeof version !== 'number' || version <= STATE_VERSION) return;
  throw fail('IDENTITY_STATE_NEWER', `${path} was written by a newer version of this program: its format is ${version}, this one knows ${STATE_VERSION}`, {
    hint: 'install the newer version again; nothing was changed',
    facts: { path },
  });
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail('IDENTITY_STATE_CORRUPT', `${path} is no JSON`, { cause, hint: 'restore the file from a backup' });
  }
}
