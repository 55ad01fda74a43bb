// Files only their owner may read: keys, tokens and state; refused where others can read them too.
import { constants, type Stats } from 'node:fs';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '@isthmus/model';
import { fail } from './errors.ts';

export const MAX_PRIVATE_FILE_BYTES = 64 * 1024 * 1024;

/** Makes a directory of mode 0700, or sets that mode. */
export async function makePrivateDir(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
}

/** Reads a file that must be of mode 0600 or stricter. **Throws** STATE_EXPOSED when group or others may read it or it has another owner, STATE_TOO_LARGE, STATE_UNWRITABLE when it cannot be read. */
export async function readPrivateFile(path: string, { maxBytes = MAX_PRIVATE_FILE_BYTES }: { readonly maxBytes?: number } = {}): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw toStateError(error, path, 'read');
  });
  try {
    const stats = await file.stat();
    refuseExposed(path, stats);
    if (stats.size > maxBytes) throw fail('STATE_TOO_LARGE', `${path} has ${stats.size} bytes, more than ${maxBytes}`, { facts: { path } });
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/**
 * Writes a file of mode 0600 whole or not at all: new file, sync, rename, sync of the directory.
 * **Throws** STATE_DISK_FULL, STATE_UNWRITABLE; the old content then stands.
 */
export async function writePrivateFile(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    const directory = await open(dirname(path), 'r');
    await directory.sync().finally(() => directory.close());
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw toStateError(error, path, 'written');
  }
}

function refuseExposed(path: string, stats: Stats): void {
  if ((stats.mode & 0o077) !== 0) {
    const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
    throw fail('STATE_EXPOSED', `${path} has mode ${mode}: others may read it`, { hint: `chmod 600 ${path}, and replace what it holds if others had access` });
  }
  const uid = process.getuid?.();
  if (uid !== undefined && uid !== 0 && stats.uid !== uid) throw fail('STATE_EXPOSED', `${path} belongs to user ${stats.uid}, not to ${uid}`);
}

function toStateError(error: unknown, path: string, verb: 'read' | 'written'): Error {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return fail('STATE_DISK_FULL', `${path} could not be written: the disk is full`, { hint: 'free some space; the old state is untouched', cause: error });
  }
  return fail('STATE_UNWRITABLE', `${path} could not be ${verb}: ${messageOf(error)}`, { cause: error, facts: { path, cause: String(code) } });
}
