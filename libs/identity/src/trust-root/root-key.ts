// The root's key and certificate: made on the first start, found and checked on every later one.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TrustDomain } from '@isthmus/model';
import { exportKeyPem, generateKey, importKeyPem, type KeyKind, signRoot } from '@isthmus/pki';
import { makePrivateDir, readPrivateFile, writePrivateFile } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { openJsonState, type StateOf } from '../state.ts';
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
  const keyPath = join(stateDir, 'root.key');
  const file = openJsonState(join(stateDir, 'trust-root.state'), parseTrustRootState, MAX_STATE_BYTES);
  const state = await file.read();
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
    throw fail('IDENTITY_STATE_MISMATCH', `root.key in ${options.stateDir} is ${key === undefined ? 'missing' : 'not the key of the root certificate'}`, {
      hint: 'restore root.key from the backup it was made with',
    });
  }
  return { key, cert, state, file };
}

function importKey(pem: string, path: string): KeyObject {
  try {
    return importKeyPem(pem);
  } catch (cause) {
    throw fail('IDENTITY_STATE_CORRUPT', `${path} holds no private key`, { cause, hint: 'restore it from a backup' });
  }
}
