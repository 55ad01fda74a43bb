// Where a CA's keys are kept: one seam, and behind it memory, files, files under a passphrase, a token, or another program.
import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exportKeyPem, generateKey, importKeyPem, isSealed, keySigner, type KeyKind, seal, type SealCost, type Signer, unseal } from '@isthmus/pki';
import { readPrivateFile, writePrivateFile } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from './errors.ts';

/** What holds a key: this process's memory, a file in the state directory, a PKCS#11 token, or a program that is asked. */
export type KeyPlace = 'memory' | 'files' | 'pkcs11' | 'program';

/** A key as its store hands it out: it signs, and its private half may be where no program can read it. */
export type StoredKey = Signer & { readonly place: KeyPlace };

/** A key of this process, for who must sign thousands a second. */
export type LocalKey = StoredKey & { readonly key: KeyObject };

/** Keys by name, such as `root.key`. Each is made by its store and leaves it as a signer, never as text. */
export interface KeyStore<K extends StoredKey = StoredKey> {
  /** Where keys made here are. */
  readonly place: KeyPlace;
  /** Makes and keeps a key, or finds the one of that name: a start that was cut off goes on with it. **Throws** IDENTITY_STATE_CORRUPT, IDENTITY_KEY_*, STATE_*. */
  make(name: string, kind: KeyKind): Promise<K>;
  /** Undefined where there is none of that name. **Throws** as `make`. */
  read(name: string): Promise<K | undefined>;
  /** Ends the key and removes it; nothing where it is gone already. In files it is overwritten; on a disk that writes elsewhere, old blocks may stay. */
  destroy(name: string): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Keys that end with the process: for tests, and for a root that signs once. */
export function memoryKeyStore(): KeyStore<LocalKey> {
  const keys = new Map<string, LocalKey>();
  return {
    place: 'memory',
    make: async (name, kind) => {
      const key = keys.get(name) ?? localKey('memory', generateKey(kind));
      keys.set(name, key);
      return key;
    },
    read: async (name) => keys.get(name),
    destroy: async (name) => void keys.delete(name),
    close: async () => undefined,
  };
}

/**
 * Makes keys in `current` and finds those made earlier in `former` too, so that a root moves from files into a token, or
 * from one token into another, by being rotated: no key is ever copied.
 */
export function movingKeyStore(current: KeyStore, former: KeyStore): KeyStore {
  return {
    place: current.place,
    make: (name, kind) => current.make(name, kind),
    read: async (name) => {
      // A key that is still where it was must be found while the new place is away.
      const found = await current.read(name).catch(async (error: unknown) => {
        const earlier = await former.read(name);
        if (earlier === undefined) throw error;
        return earlier;
      });
      return found ?? (await former.read(name));
    },
    destroy: async (name) => {
      await former.destroy(name);
      await current.destroy(name);
    },
    close: async () => {
      await current.close();
      await former.close();
    },
  };
}

function localKey(place: KeyPlace, key: KeyObject): LocalKey {
  return { ...keySigner(key), key, place };
}

/**
 * Keys in files of mode 0600 in `directory`, under `passphrase` where one is given: a plain file found then is sealed in
 * its place. PKCS#8’s own encryption is not used, since Node derives its key with 2,048 rounds of PBKDF2 only.
 */
export function fileKeyStore(directory: string, options: { readonly passphrase?: Uint8Array | undefined; readonly cost?: SealCost; readonly log?: Log } = {}): KeyStore<LocalKey> {
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
  const readLocal = async (name: string): Promise<LocalKey | undefined> => {
    const key = await read(name);
    return key === undefined ? undefined : localKey('files', key);
  };
  return {
    place: 'files',
    read: readLocal,
    make: async (name, kind) => {
      const found = await readLocal(name);
      if (found !== undefined) return found;
      const key = generateKey(kind);
      await write(name, key);
      return localKey('files', key);
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
    close: async () => undefined,
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
