// Keys behind a program of the operator's, which asks a cloud's KMS, a network HSM or a smart card: a question and an answer in JSON each.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { compileSchema, formatProblems, IsthmusError, messageOf, type TSchema, type Static, Type } from '@isthmus/model';
import { type KeyKind, verifyBytes, weaknessOf } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import type { KeyStore, StoredKey } from '../key-store.ts';
import { openSerial } from '../serial.ts';
import { askProgram } from './run-program.ts';

export type ProgramOptions = {
  /** The program and its arguments; no shell is between. */
  readonly command: readonly string[];
  /** What the names of the keys begin with: the federation’s name, say. */
  readonly label: string;
  /** For one signature. Default 8 s: less than a cluster waits for its intermediate. */
  readonly timeoutMs?: number | undefined;
  readonly clock: Clock;
};

/** What is asked; `name` is the label, a space and the key’s name. */
export type ProgramQuestion =
  | { readonly version: 1; readonly do: 'read'; readonly name: string }
  | { readonly version: 1; readonly do: 'make'; readonly name: string; readonly kind: KeyKind }
  | { readonly version: 1; readonly do: 'sign'; readonly name: string; readonly hash: 'sha256' | 'none'; readonly data: string }
  | { readonly version: 1; readonly do: 'destroy'; readonly name: string };

const TIMEOUT_MS = 8_000;
const MAKE_TIMEOUT_MS = 120_000;

const keyAnswer = Type.Object({ publicKey: Type.Union([Type.String({ maxLength: 16_384 }), Type.Null()]) });
const signatureAnswer = Type.Object({ signature: Type.String({ minLength: 1, maxLength: 4_096 }) });
const doneAnswer = Type.Object({});

/**
 * One question at a time. What the program answers is believed for its public key only, which the root certificate then
 * fixes; a signature that does not verify by it is refused.
 * Every method **throws** IDENTITY_KEY_UNAVAILABLE where the program fails, is late or answers nonsense,
 * IDENTITY_KEY_REFUSED for a key that may not be used.
 */
export function programKeyStore(options: ProgramOptions): KeyStore {
  const { command, clock, timeoutMs = TIMEOUT_MS } = options;
  const serial = openSerial();
  const nameOf = (name: string): string => `${options.label} ${name}`;

  const ask = <T extends TSchema>(question: ProgramQuestion, schema: T, limitMs: number): Promise<Static<T>> =>
    serial(async () => {
      try {
        const text = await askProgram(command, `${JSON.stringify(question)}\n`, { timeoutMs: limitMs, clock });
        const answer = compileSchema(schema)(parseJson(text));
        if (!answer.ok) throw new Error(`its answer is not what was asked for: ${formatProblems(answer.problems)}`);
        return answer.value;
      } catch (cause) {
        if (cause instanceof IsthmusError) throw cause;
        throw fail('IDENTITY_KEY_UNAVAILABLE', `the program ${command[0] ?? ''} did not ${question.do}: ${messageOf(cause)}`, { cause, hint: 'run it by hand; what it is asked and must answer is in docs/operating/root-key.md' });
      }
    });
  const stored = (name: string, publicKey: KeyObject): StoredKey => ({
    place: 'program',
    publicKey,
    sign: async (bytes) => {
      const hash = publicKey.asymmetricKeyType === 'ed25519' ? 'none' : 'sha256';
      const { signature } = await ask({ version: 1, do: 'sign', name: nameOf(name), hash, data: bytes.toString('base64') }, signatureAnswer, timeoutMs);
      const made = Buffer.from(signature, 'base64');
      if (!verifyBytes(publicKey, bytes, made)) throw fail('IDENTITY_KEY_UNAVAILABLE', `the program ${command[0] ?? ''} answered with a signature that is not one of ${nameOf(name)}`);
      return made;
    },
  });
  const keyIn = (name: string, answer: Static<typeof keyAnswer>): StoredKey | undefined => (answer.publicKey === null ? undefined : stored(name, readKey(answer.publicKey)));
  return {
    place: 'program',
    read: async (name) => keyIn(name, await ask({ version: 1, do: 'read', name: nameOf(name) }, keyAnswer, timeoutMs)),
    make: async (name, kind) => {
      const found = keyIn(name, await ask({ version: 1, do: 'read', name: nameOf(name) }, keyAnswer, timeoutMs));
      if (found !== undefined) return found;
      const made = keyIn(name, await ask({ version: 1, do: 'make', name: nameOf(name), kind }, keyAnswer, MAKE_TIMEOUT_MS));
      if (made === undefined) throw fail('IDENTITY_KEY_UNAVAILABLE', `the program ${command[0] ?? ''} made no key`);
      return made;
    },
    destroy: async (name) => void (await ask({ version: 1, do: 'destroy', name: nameOf(name) }, doneAnswer, timeoutMs)),
    close: () => serial(async () => undefined),
  };
}

function readKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw fail('IDENTITY_KEY_REFUSED', 'what the program answered is no public key in PEM', { cause });
  }
  const weakness = weaknessOf(key);
  if (weakness !== undefined) throw fail('IDENTITY_KEY_REFUSED', `the program’s key is refused: ${weakness}`);
  return key;
}

function parseJson(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    throw new Error('its answer is no JSON');
  }
}
