// The key of a cluster's intermediate in its store: two names in turn, so that the one in force stays until the next certificate is on disk.
import { X509Certificate } from 'node:crypto';
import { IsthmusError } from '@isthmus/model';
import { generateKey, importKeyPem } from '@isthmus/pki';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { KeyStore, LocalKey } from '../key-store.ts';
import type { SlotKey } from './slot.ts';
import type { SlotState } from './state.ts';

/**
 * A new key under the name that `inUse` is not. Where it cannot be kept, since the disk is full, it is one of this process
 * only and has no name: a cluster must not lose its identity for that. **Throws** IDENTITY_KEY_LOCKED.
 */
export async function nextSlotKey(keys: KeyStore<LocalKey>, inUse: string | undefined, log: Log): Promise<SlotKey> {
  const name = inUse === 'intermediate-a.key' ? 'intermediate-b.key' : 'intermediate-a.key';
  try {
    // What lies there is of an intermediate before the last, or of a request that was not answered.
    await keys.destroy(name);
    return { key: (await keys.make(name, 'ec-p256')).key, keyName: name };
  } catch (error) {
    if (!(error instanceof IsthmusError) || !error.code.startsWith('STATE_')) throw error;
    log.error('the key of the new intermediate cannot be kept: it is in memory only', { error: error.message });
    return { key: generateKey() };
  }
}

/** The key a state names, or holds as those of earlier versions did. **Throws** IDENTITY_STATE_MISMATCH where it is missing or another's, IDENTITY_KEY_LOCKED, STATE_*. */
export async function storedSlotKey(keys: KeyStore<LocalKey>, stored: SlotState): Promise<SlotKey> {
  const { keyName, keyPem, intermediate } = stored;
  const key = keyName === undefined ? (keyPem === undefined ? undefined : importKeyPem(keyPem)) : (await keys.read(keyName))?.key;
  if (key !== undefined && new X509Certificate(Buffer.from(intermediate, 'base64')).checkPrivateKey(key)) return { key, ...(keyName !== undefined && { keyName }) };
  throw fail('IDENTITY_STATE_MISMATCH', `${keyName ?? 'the key'} of the intermediate of ${stored.cluster} is ${key === undefined ? 'missing' : 'not the one its certificate is for'}`, {
    hint: 'restore the directory as it was, or remove authority.state and join with a token made with --replace',
  });
}
