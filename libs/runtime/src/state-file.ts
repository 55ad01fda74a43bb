// State that outlives the process: one file, written whole, with a checksum that tells a cut-short one.
import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import { fail } from './errors.ts';
import { readPrivateFile, writePrivateFile } from './private-file.ts';

export interface StateFile {
  readonly path: string;
  /** The text last written; undefined when there is no file yet. **Throws** STATE_CORRUPT, STATE_EXPOSED. */
  read(): Promise<string | undefined>;
  /** Durable once resolved. Writes are done one after the other. **Throws** STATE_DISK_FULL, STATE_UNWRITABLE, leaving the old content. */
  write(text: string): Promise<void>;
}

/** A state file of mode 0600; its first line is the SHA-256 of the rest. */
export function openStateFile(path: string, { maxBytes = 64 * 1024 * 1024 }: { readonly maxBytes?: number } = {}): StateFile {
  let last: Promise<void> = Promise.resolve();
  return {
    path,
    read: async () => {
      await last.catch(() => undefined);
      const exists = await access(path).then(() => true, () => false);
      if (!exists) return undefined;
      const whole = (await readPrivateFile(path)).toString('utf8');
      const end = whole.indexOf('\n');
      const text = whole.slice(end + 1);
      if (whole.length > maxBytes || end === -1 || whole.slice(0, end) !== `sha256 ${digest(text)}`) {
        throw fail('STATE_CORRUPT', `${path} is cut short or was changed: its checksum does not hold`, { hint: 'restore it from a backup; nothing was changed', facts: { path } });
      }
      return text;
    },
    write: (text) => {
      const write = last.catch(() => undefined).then(() => writePrivateFile(path, `sha256 ${digest(text)}\n${text}`));
      last = write;
      return write;
    },
  };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
