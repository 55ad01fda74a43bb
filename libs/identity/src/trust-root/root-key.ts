// The root's key and certificate: made on the first start, found and checked on every later one.
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrustDomain } from '@isthmus/model';
import { draftRoot, type KeyKind, signDraft } from '@isthmus/pki';
import { makePrivateDir, writePrivateFile } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { KeyStore, StoredKey } from '../key-store.ts';
import { openJsonState, type StateOf } from '../state.ts';
import type { RootRef } from './root-rotation.ts';
import { FIRST_KEY_FILE, keyInOf, signingRoot } from './rotation-state.ts';
import { refuseLogWithoutState } from './root-log.ts';
import { MAX_STATE_BYTES, parseTrustRootState, REFRESH_HINT_SECONDS, type TrustRootState } from './state.ts';

/** Lies in the state directory from before the first key is made in a token or by a program until the state is there. */
const BEGUN_FILE = 'root-key.begun';

export type OpenedRoot = {
  readonly key: StoredKey;
  /** DER. */
  readonly cert: Buffer;
  readonly state: TrustRootState;
  readonly file: StateOf<TrustRootState>;
};

/**
 * Reads the root from `stateDir`, or makes it where there is none.
 * **Throws** IDENTITY_STATE_MISMATCH: the key is missing or another one, or the state is another federation's;
 * IDENTITY_KEY_*: a token or program is away, closed, or holds a key whose state is lost; STATE_*.
 */
export async function openRoot(options: {
  readonly stateDir: string;
  readonly federation: TrustDomain;
  readonly keyKind: KeyKind;
  readonly keys: KeyStore;
  readonly rootTtlMs: number;
  readonly nowMs: number;
  readonly log: Log;
}): Promise<OpenedRoot> {
  const { stateDir, federation, keys, log } = options;
  await makePrivateDir(stateDir);
  const file = openJsonState(join(stateDir, 'trust-root.state'), parseTrustRootState, MAX_STATE_BYTES);
  const state = await file.read();
  if (state !== undefined) {
    if (state.federation !== federation) {
      throw fail('IDENTITY_STATE_MISMATCH', `${stateDir} is the trust root of ${state.federation}, not of ${federation}`, { hint: 'correct `federation` or `stateDir` in the configuration' });
    }
    const key = await readRootKey(keys, signingRoot(state));
    await rm(join(stateDir, BEGUN_FILE), { force: true });
    if (key.place !== keys.place) log.warn('the root’s key is not where keys are made now; a rotation of the root moves it', { place: key.place, configured: keys.place });
    return { key, cert: Buffer.from(state.root, 'base64'), state, file };
  }
  refuseLogWithoutState(stateDir);
  // The key is made first: a start that is cut off here leaves a key without a state, and the next start uses it.
  const key = await firstKey(keys, options);
  const cert = await signDraft(draftRoot({ key: key.publicKey, federation, nowMs: options.nowMs, ttlMs: options.rootTtlMs }), key);
  const first = firstState(federation, cert, key);
  await file.write(first);
  await rm(join(stateDir, BEGUN_FILE), { force: true });
  return { key, cert, state: first, file };
}

/** A key in a token outlives a lost directory; without the mark that this directory was about to make it, it is another root's. */
async function firstKey(keys: KeyStore, { stateDir, keyKind }: { readonly stateDir: string; readonly keyKind: KeyKind }): Promise<StoredKey> {
  if (keyInOf(keys.place).keyIn === undefined) return keys.make(FIRST_KEY_FILE, keyKind);
  const mark = join(stateDir, BEGUN_FILE);
  if (!existsSync(mark) && (await keys.read(FIRST_KEY_FILE)) !== undefined) {
    throw fail('IDENTITY_KEY_REFUSED', `there is a key ${FIRST_KEY_FILE} for this root, and ${stateDir} holds no state: the state was lost, or it is another trust root’s key`, {
      hint: 'restore the directory from a backup; to begin another federation use another label for its keys',
    });
  }
  await writePrivateFile(mark, 'the first key of the root is being made\n');
  return keys.make(FIRST_KEY_FILE, keyKind);
}

function firstState(federation: TrustDomain, cert: Buffer, key: StoredKey): TrustRootState {
  const root = cert.toString('base64');
  return {
    version: 1,
    federation,
    root,
    ...keyInOf(key.place),
    members: [],
    bundles: [{ trustDomain: federation, sequence: 1, refreshHintSeconds: REFRESH_HINT_SECONDS, x509Authorities: [root] }],
    formerSequences: {},
    tokens: [],
    journal: [],
  };
}

/** The key of a root that is there. **Throws** IDENTITY_STATE_MISMATCH where it is missing or another root's; IDENTITY_KEY_*, STATE_*. */
export async function readRootKey(keys: KeyStore, ref: RootRef): Promise<StoredKey> {
  const key = await keys.read(ref.keyFile);
  const { publicKey } = new X509Certificate(Buffer.from(ref.root, 'base64'));
  if (key?.publicKey.equals(publicKey) === true) return key;
  const place = { pkcs11: ' in the token', program: ' of the program' };
  throw fail('IDENTITY_STATE_MISMATCH', `${ref.keyFile}${ref.keyIn === undefined ? '' : place[ref.keyIn]} is ${key === undefined ? 'missing' : 'not the key of its root certificate'}`, {
    hint: ref.keyIn === undefined ? `restore ${ref.keyFile} from the backup it was made with` : 'correct `keys` in the configuration, or attach the token the root was made in; it is never made anew',
  });
}
