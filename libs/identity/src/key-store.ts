// Where a CA's keys are kept: one seam, and behind it memory, files, and files under a passphrase.
import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exportKeyPem, generateKey, importKeyPem, isSealed, type KeyKind, seal, type SealCost, unseal } from '@isthmus/pki';
import { readPrivateFile, writePrivateFile } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from './errors.ts';

/** Keys by name, such as `root.key`. Each is made here and leaves as a handle that signs, never as text. */
export interface KeyStore {
  has(name: string): boolean;
  /** Makes and keeps a key, or finds the one of that name: a start that was cut off goes on with it. **Throws** IDENTITY_STATE_CORRUPT, IDENTITY_KEY_LOCKED, STATE_*. */
  make(name: string, kind: KeyKind): Promise<KeyObject>;
  /** Undefined where there is none of that name. **Throws** as `make`. */
  read(name: string): Promise<KeyObject | undefined>;
  /** Overwrites the key and removes it; nothing where it is gone already. On a disk that writes elsewhere, old blocks may stay. */
  destroy(name: string): Promise<void>;
}

/** Keys that end with the process: for tests, and for a root that signs once. */
export function memoryKeyStore(): KeyStore {
  const keys = new Map<string, KeyObject>();
  return {
    has: (name) => keys.has(name),
    make: async (name, kind) => {
      const key = keys.get(name) ?? generateKey(kind);
      keys.set(name, key);
      return key;
    },
    read: async (name) => keys.get(name),
    destroy: async (name) => void keys.delete(name),
  };
}

/**
 * Keys in files of mode 0600 in `directory`, under `passphrase` where one is given: a plain file found then is sealed in
 * its place. PKCS#8’s own encryption is not used, since Node derives its key with 2,048 rounds of PBKDF2 only.
 */
export function fileKeyStore(directory: string, options: { readonly passphrase?: Uint8Array | undefined; readonly cost?: SealCost; readonly log?: Log } = {}): KeyStore {
  const { passphrase, cost, log } = options;
  const pathOf = (name: string): string => join(directory, name);
  const write = async (name: string, key: KeyObject): Promise<void> => {
    const pem = Buffer.from(exportKeyPem(key));
    await writePrivateFile(pathOf(name), passphrase === undefined ? pem : await seal(pem, passphrase, cost));
  };
  const read = async (name: string): Promise<KeyObject | undefined> => {
    const path = pathOf(name);
    if (!existsSync(path)) return undefined;
    const bytes = await readPrivateFile(path);
    if (!isSealed(bytes)) {
      const key = importKey(bytes, path);
      if (passphrase === undefined) return key;
      await write(name, key);
      log?.warn('a key that lay there in plain is now under the passphrase; copies of it elsewhere are not', { path });
      return key;
    }
    if (passphrase === undefined) throw fail('IDENTITY_KEY_LOCKED', `${path} is under a passphrase, and none is configured`, { hint: 'set `keyPassphraseFile`' });
    const pem = await unseal(bytes, passphrase).catch((cause: unknown) => {
      throw fail('IDENTITY_KEY_LOCKED', `${path} does not open: the passphrase is another one, or the file was changed`, { cause, hint: 'set `keyPassphraseFile` to the right one, or restore the file from a backup' });
    });
    return importKey(pem, path);
  };
  return {
    has: (name) => existsSync(pathOf(name)),
    read,
    make: async (name, kind) => {
      const found = await read(name);
      if (found !== undefined) return found;
      const key = generateKey(kind);
      await write(name, key);
      return key;
    },
    destroy: async (name) => {
      const path = pathOf(name);
      if (!existsSync(path)) return;
      const file = await open(path, 'r+');
      try {
        await file.write(Buffer.alloc((await file.stat()).size), 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await rm(path, { force: true });
    },
  };
}

function importKey(pem: Buffer, path: string): KeyObject {
  try {
    return importKeyPem(pem);
  } catch (cause) {
    throw fail('IDENTITY_STATE_CORRUPT', `${path} holds no private key`, { cause, hint: 'restore it from a backup' });
  }
}

/** A passphrase from a file of mode 0600, without the line feed at its end. **Throws** STATE_EXPOSED, STATE_UNWRITABLE. */
export async function readPassphrase(path: string): Promise<Buffer> {
  const bytes = await readPrivateFile(path, { maxBytes: 4_096 });
  return bytes.at(-1) === 10 ? bytes.subarray(0, -1) : bytes;
}
