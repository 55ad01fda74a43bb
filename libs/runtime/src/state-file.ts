// State that outlives the process: one file, written whole, with a checksum that tells a cut-short one.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { fail } from './errors.ts';
import { MAX_PRIVATE_FILE_BYTES, readPrivateFile, writePrivateFile } from './private-file.ts';

/** `sha256 `, 64 hex digits and a line feed. */
const HEADER_BYTES = 72;
const MAX_TEXT_BYTES = MAX_PRIVATE_FILE_BYTES - HEADER_BYTES;

export interface StateFile {
  readonly path: string;
  /** The text last written; undefined when there is no file yet. **Throws** STATE_CORRUPT, STATE_EXPOSED, STATE_TOO_LARGE, STATE_UNWRITABLE. */
  read(): Promise<string | undefined>;
  /** Durable once resolved. Writes are done one after the other. **Throws** STATE_DISK_FULL, STATE_TOO_LARGE, STATE_UNWRITABLE, leaving the old content. */
  write(text: string): Promise<void>;
}

/** A state file of mode 0600; its first line is the SHA-256 of the rest. `maxBytes` bounds the text both ways. */
export function openStateFile(path: string, { maxBytes = MAX_TEXT_BYTES }: { readonly maxBytes?: number } = {}): StateFile {
  let last: Promise<void> = Promise.resolve();
  return {
    path,
    read: async () => {
      await last.catch(() => undefined);
      if (!(await exists(path))) return undefined;
      const whole = (await readPrivateFile(path, { maxBytes: maxBytes + HEADER_BYTES })).toString('utf8');
      const end = whole.indexOf('\n');
      const text = whole.slice(end + 1);
      if (end === -1 || whole.slice(0, end) !== `sha256 ${digest(text)}`) {
        throw fail('STATE_CORRUPT', `${path} is cut short or was changed: its checksum does not hold`, { hint: 'restore it from a backup; nothing was changed', facts: { path } });
      }
      return text;
    },
    write: (text) => {
      const write = last.catch(() => undefined).then(() => {
        if (Buffer.byteLength(text) > maxBytes) throw fail('STATE_TOO_LARGE', `what is to be written to ${path} has more than ${maxBytes} bytes`, { facts: { path } });
        return writePrivateFile(path, `sha256 ${digest(text)}\n${text}`);
      });
      last = write;
      return write;
    },
  };
}

/** Only a file that is truly absent is: one that cannot be reached must never look like a first start. */
async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    (error: unknown) => !(error instanceof Error && 'code' in error && error.code === 'ENOENT'),
  );
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
