// The root's key and certificate: made on the first start, found and checked on every later one.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { TrustDomain } from '@isthmus/model';
import { type KeyKind, signRoot } from '@isthmus/pki';
import { makePrivateDir } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import type { KeyStore } from '../key-store.ts';
import { openJsonState, type StateOf } from '../state.ts';
import type { RootRef } from './root-rotation.ts';
import { FIRST_KEY_FILE, signingRoot } from './rotation-state.ts';
import { refuseLogWithoutState } from './root-log.ts';
import { MAX_STATE_BYTES, parseTrustRootState, REFRESH_HINT_SECONDS, type TrustRootState } from './state.ts';

export type OpenedRoot = {
  readonly key: KeyObject;
  /** DER. */
  readonly cert: Buffer;
  readonly state: TrustRootState;
  readonly file: StateOf<TrustRootState>;
};

/**
 * Reads the root from `stateDir`, or makes it where there is none.
 * **Throws** IDENTITY_STATE_MISMATCH: the key is missing or another one, or the state is another federation's; STATE_*.
 */
export async function openRoot(options: {
  readonly stateDir: string;
  readonly federation: TrustDomain;
  readonly keyKind: KeyKind;
  readonly keys: KeyStore;
  readonly rootTtlMs: number;
  readonly nowMs: number;
}): Promise<OpenedRoot> {
  const { stateDir, federation, keys } = options;
  await makePrivateDir(stateDir);
  const file = openJsonState(join(stateDir, 'trust-root.state'), parseTrustRootState, MAX_STATE_BYTES);
  const state = await file.read();
  if (state !== undefined) return found(state, await keys.read(signingRoot(state).keyFile), file, options);

  refuseLogWithoutState(stateDir);
  // The key is written first: a start that is cut off here leaves a key without a state, and the next start uses it.
  const key = await keys.make(FIRST_KEY_FILE, options.keyKind);
  const cert = signRoot({ key, federation, nowMs: options.nowMs, ttlMs: options.rootTtlMs });
  const root = cert.toString('base64');
  const first: TrustRootState = {
    version: 1,
    federation,
    root,
    members: [],
    bundles: [{ trustDomain: federation, sequence: 1, refreshHintSeconds: REFRESH_HINT_SECONDS, x509Authorities: [root] }],
    formerSequences: {},
    tokens: [],
    journal: [],
  };
  await file.write(first);
  return { key, cert, state: first, file };
}

function found(
  state: TrustRootState,
  key: KeyObject | undefined,
  file: StateOf<TrustRootState>,
  options: { readonly stateDir: string; readonly federation: TrustDomain },
): OpenedRoot {
  if (state.federation !== options.federation) {
    throw fail('IDENTITY_STATE_MISMATCH', `${options.stateDir} is the trust root of ${state.federation}, not of ${options.federation}`, {
      hint: 'correct `federation` or `stateDir` in the configuration',
    });
  }
  const cert = Buffer.from(state.root, 'base64');
  if (key === undefined || !createPublicKey(key).equals(new X509Certificate(cert).publicKey)) {
    throw fail('IDENTITY_STATE_MISMATCH', `${signingRoot(state).keyFile} in ${options.stateDir} is ${key === undefined ? 'missing' : 'not the key of the root certificate'}`, {
      hint: `restore ${signingRoot(state).keyFile} from the backup it was made with`,
    });
  }
  return { key, cert, state, file };
}

/** The key of a root that is there. **Throws** IDENTITY_STATE_MISMATCH where it is missing or another root's; STATE_*. */
export async function readRootKey(keys: KeyStore, ref: RootRef): Promise<KeyObject> {
  const key = await keys.read(ref.keyFile);
  const { publicKey } = new X509Certificate(Buffer.from(ref.root, 'base64'));
  if (key !== undefined && createPublicKey(key).equals(publicKey)) return key;
  throw fail('IDENTITY_STATE_MISMATCH', `${ref.keyFile} is ${key === undefined ? 'missing' : 'not the key of its root certificate'}`, { hint: `restore ${ref.keyFile} from a backup` });
}
