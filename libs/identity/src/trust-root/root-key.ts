// The root's key and certificate: made on the first start, found and checked on every later one.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrustDomain } from '@isthmus/model';
import { exportKeyPem, generateKey, importKeyPem, type KeyKind, signRoot } from '@isthmus/pki';
import { makePrivateDir, readPrivateFile, writePrivateFile } from '@isthmus/runtime';
import { fail } from '../errors.ts';
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
  readonly rootTtlMs: number;
  readonly nowMs: number;
}): Promise<OpenedRoot> {
  const { stateDir, federation } = options;
  await makePrivateDir(stateDir);
  const file = openJsonState(join(stateDir, 'trust-root.state'), parseTrustRootState, MAX_STATE_BYTES);
  const state = await file.read();
  const keyPath = join(stateDir, state === undefined ? FIRST_KEY_FILE : signingRoot(state).keyFile);
  const pem = existsSync(keyPath) ? (await readPrivateFile(keyPath)).toString() : undefined;
  if (state !== undefined) return found(state, pem === undefined ? undefined : importKey(pem, keyPath), file, options);

  refuseLogWithoutState(stateDir);
  // The key is written first: a start that is cut off here leaves a key without a state, and the next start uses it.
  const key = pem === undefined ? generateKey(options.keyKind) : importKey(pem, keyPath);
  if (pem === undefined) await writePrivateFile(keyPath, exportKeyPem(key));
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

/** The key of a root that is to come, made on the first call and found on every later one. **Throws** IDENTITY_STATE_CORRUPT, STATE_*. */
export async function makeRootKey(stateDir: string, keyFile: string, kind: KeyKind): Promise<KeyObject> {
  const path = join(stateDir, keyFile);
  if (existsSync(path)) return importKey((await readPrivateFile(path)).toString(), path);
  const key = generateKey(kind);
  await writePrivateFile(path, exportKeyPem(key));
  return key;
}

/** The key of a root that is there. **Throws** IDENTITY_STATE_MISMATCH where it is missing or another root's; STATE_*. */
export async function readRootKey(stateDir: string, ref: RootRef): Promise<KeyObject> {
  const path = join(stateDir, ref.keyFile);
  const key = existsSync(path) ? importKey((await readPrivateFile(path)).toString(), path) : undefined;
  const { publicKey } = new X509Certificate(Buffer.from(ref.root, 'base64'));
  if (key !== undefined && createPublicKey(key).equals(publicKey)) return key;
  throw fail('IDENTITY_STATE_MISMATCH', `${path} is ${key === undefined ? 'missing' : 'not the key of its root certificate'}`, { hint: `restore ${ref.keyFile} from a backup` });
}

/** Overwrites a root's key and removes it; nothing where it is gone already. On a disk that writes elsewhere, old blocks may stay. */
export async function destroyRootKey(stateDir: string, keyFile: string): Promise<void> {
  const path = join(stateDir, keyFile);
  if (!existsSync(path)) return;
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.alloc((await file.stat()).size), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path, { force: true });
}

function importKey(pem: string, path: string): KeyObject {
  try {
    return importKeyPem(pem);
  } catch (cause) {
    throw fail('IDENTITY_STATE_CORRUPT', `${path} holds no private key`, { cause, hint: 'restore it from a backup' });
  }
}
