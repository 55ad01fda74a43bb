// The keys of JWT-SVIDs between starts: each in the key store, and a file that says which there are and since when.
import type { KeyObject } from 'node:crypto';
import { compileSchema, type JwtAuthority, type Static, Type } from '@isthmus/model';
import { importKeyPem, jwtAuthorityOf } from '@isthmus/pki';
import { fail } from '../errors.ts';
import type { KeyStore, LocalKey } from '../key-store.ts';
import type { StateOf } from '../state.ts';

const jwtKeySchema = Type.Object({
  /** Name in the key store. */
  keyName: Type.Optional(Type.String({ pattern: '^jwt-[0-9]{1,16}\\.key$' })),
  /** The key itself, as it was kept before there were names. */
  keyPem: Type.Optional(Type.String({ maxLength: 16_384 })),
  createdAtMs: Type.Integer(),
  publishedAtMs: Type.Optional(Type.Integer()),
});
const jwtKeysStateSchema = Type.Object({ version: Type.Literal(1), keys: Type.Array(jwtKeySchema, { maxItems: 8 }) });
export type JwtKeysState = Static<typeof jwtKeysStateSchema>;
export const parseJwtKeysState = compileSchema(jwtKeysStateSchema);

export type JwtKey = { readonly key: KeyObject; readonly keyName: string; readonly authority: JwtAuthority; readonly createdAtMs: number; readonly publishedAtMs?: number };

export interface JwtKeyFile {
  /** What was there at the start, oldest first. */
  readonly keys: readonly JwtKey[];
  /** A key in the store that the file does not name yet. **Throws** STATE_*, IDENTITY_KEY_LOCKED. */
  make(nowMs: number): Promise<JwtKey>;
  /** Puts these into the file, and destroys those that were in it and are not any more. **Throws** STATE_* */
  write(keys: readonly JwtKey[]): Promise<void>;
}

/** **Throws** IDENTITY_STATE_MISMATCH where a key the file names is missing; IDENTITY_STATE_CORRUPT, IDENTITY_KEY_LOCKED, STATE_*. */
export async function openJwtKeyFile({ file, keys: store }: { readonly file: StateOf<JwtKeysState>; readonly keys: KeyStore<LocalKey> }): Promise<JwtKeyFile> {
  const stored = (await file.read())?.keys ?? [];
  const keys: JwtKey[] = [];
  for (const { keyName, keyPem, ...times } of stored) {
    // A key in plain is of an earlier version: it signs on until it is replaced, which is due in days.
    const key = keyName === undefined ? importKeyPem(keyPem ?? '') : (await store.read(keyName))?.key;
    if (key === undefined) throw fail('IDENTITY_STATE_MISMATCH', `${keyName ?? 'a key'} of JWT-SVIDs is missing`, { hint: 'restore the directory as it was; or remove jwt-keys.state: tokens are then signed by a new key' });
    keys.push({ key, keyName: keyName ?? '', authority: jwtAuthorityOf(key), ...times });
  }
  const inPlain = new Map(stored.flatMap(({ keyPem, createdAtMs }) => (keyPem === undefined ? [] : [[createdAtMs, keyPem] as const])));
  const named = new Set(keys.map(({ keyName }) => keyName));
  return {
    keys,
    make: async (nowMs) => {
      const keyName = `jwt-${nowMs}.key`;
      const { key } = await store.make(keyName, 'ec-p256');
      named.add(keyName);
      return { key, keyName, authority: jwtAuthorityOf(key), createdAtMs: nowMs };
    },
    write: async (next) => {
      const entries = next.map(({ keyName, createdAtMs, publishedAtMs }) => {
        const keyPem = inPlain.get(createdAtMs);
        return { ...(keyName === '' ? keyPem !== undefined && { keyPem } : { keyName }), createdAtMs, ...(publishedAtMs !== undefined && { publishedAtMs }) };
      });
      await file.write({ version: 1, keys: entries });
      for (const name of named) {
        if (name === '' || next.some(({ keyName }) => keyName === name)) continue;
        await store.destroy(name);
        named.delete(name);
      }
    },
  };
}
