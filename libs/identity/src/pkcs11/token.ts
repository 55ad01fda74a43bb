// One token, logged in to: its keys found, made, used and destroyed, one thing after another; after a loss everything is opened anew.
import { createHash } from 'node:crypto';
import { IsthmusError, messageOf, quote } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { openSerial } from '../serial.ts';
import { attribute, type Attribute, readAttributes, templateOf } from './attributes.ts';
import { CKA, CKF, CKR, CKU_USER } from './constants.ts';
import { Pkcs11Error, Pkcs11Module } from './module.ts';
import type { Memory } from './native-memory.ts';

export type TokenOptions = {
  /** Path of the vendor's library. */
  readonly module: string;
  /** The token's label; `serial` tells two of one label apart. */
  readonly token: string;
  readonly serial?: string | undefined;
  /** Read at each login, so that a corrected PIN needs no restart. **Throws** STATE_* */
  readonly pin: () => Promise<Buffer>;
  /** For one call. */
  readonly timeoutMs: number;
  readonly clock: Clock;
};

/** What can be asked of a token while it is logged in to. Handles are good within one `Pkcs11Token.run`. */
export interface Session {
  /** Handles of objects of a class and label; at most 16 are looked at. */
  find(objectClass: number, label: string): Promise<readonly bigint[]>;
  /** Attributes of an object; those it does not have or does not tell are missing. */
  attributes(handle: bigint, types: readonly number[]): Promise<ReadonlyMap<number, Buffer>>;
  sign(mechanism: number, handle: bigint, bytes: Buffer): Promise<Buffer>;
  generatePair(mechanism: number, publicKey: readonly Attribute[], privateKey: readonly Attribute[], timeoutMs: number): Promise<void>;
  destroy(handle: bigint): Promise<void>;
}

const MAX_FOUND = 16;
const MAX_SIGNATURE_BYTES = 1_024;
const MAX_SLOTS = 256;
/** CK_TOKEN_INFO: label, manufacturer, model, serial number, then numbers (§3.2). */
const TOKEN_INFO = { sizeBytes: 208, label: [0, 32], serial: [80, 96], flags: 96 } as const;
const PIN_REFUSED: readonly number[] = [CKR.pinIncorrect, CKR.pinInvalid, CKR.pinLenRange, CKR.pinExpired, CKR.pinLocked];

/** closed → open → (lost → open)* → closed. Opens itself with the first task. */
export class Pkcs11Token {
  readonly #options: TokenOptions;
  readonly #serial = openSerial();
  #module: Pkcs11Module | undefined;
  #session: bigint | undefined;
  /** Hash of the PIN that was refused: tokens lock themselves after a few, so it is never shown to the token again. */
  #refusedPin: string | undefined;

  constructor(options: TokenOptions) {
    this.#options = options;
  }

  /**
   * Runs a task in a session. A task that fails is run once more in a new one, since a token that was pulled out and put
   * back, or a service that was started anew, forgets sessions and handles.
   * **Throws** IDENTITY_KEY_UNAVAILABLE, IDENTITY_KEY_LOCKED, and refusals of the task itself.
   */
  run<T>(task: (session: Session) => Promise<T>): Promise<T> {
    return this.#serial(async () => {
      const wasOpen = this.#session !== undefined;
      try {
        return await this.#once(task);
      } catch (error) {
        if (error instanceof IsthmusError) throw error;
        await this.#forget();
        if (!wasOpen) throw this.#unavailable(error);
      }
      try {
        return await this.#once(task);
      } catch (error) {
        if (error instanceof IsthmusError) throw error;
        await this.#forget();
        throw this.#unavailable(error);
      }
    });
  }

  /** Ends the session; the last one of a process logs it out. Idempotent. */
  close(): Promise<void> {
    return this.#serial(() => this.#drop());
  }

  #unavailable(cause: unknown): IsthmusError {
    return fail('IDENTITY_KEY_UNAVAILABLE', `the token ${quote(this.#options.token)} cannot be used: ${messageOf(cause)}`, { cause, hint: 'see that it is attached and initialized; it is tried again with the next signature' });
  }

  async #once<T>(task: (session: Session) => Promise<T>): Promise<T> {
    const module = (this.#module ??= await Pkcs11Module.open(this.#options.module, this.#options.clock, this.#options.timeoutMs));
    this.#session ??= await this.#open(module);
    return task(sessionOn(module, this.#session, this.#options.timeoutMs));
  }

  async #drop(): Promise<void> {
    const [module, session] = [this.#module, this.#session];
    this.#session = undefined;
    if (module !== undefined && session !== undefined) await module.call('closeSession', this.#options.timeoutMs, session).catch(() => undefined);
  }

  /** Ends the module's part too: some look for tokens only when they are initialized, and all that lost their device ask for it. */
  async #forget(): Promise<void> {
    await this.#drop();
    const module = this.#module;
    this.#module = undefined;
    await module?.call('finalize', this.#options.timeoutMs, null).catch((error: unknown) => {
      // One that hangs in a call is still the one to wait for.
      if (!(error instanceof Pkcs11Error)) this.#module = module;
    });
  }

  async #open(module: Pkcs11Module): Promise<bigint> {
    const { timeoutMs } = this.#options;
    return module.use(async (memory) => {
      const { slot, flags } = await this.#slot(module, memory);
      const handle = memory.take(8);
      await module.call('openSession', timeoutMs, slot, CKF.serialSession | CKF.rwSession, null, null, handle.address);
      const session = handle.bytes.readBigUInt64LE(0);
      try {
        await this.#login(module, memory, session, flags);
      } catch (error) {
        await module.call('closeSession', timeoutMs, session).catch(() => undefined);
        throw error;
      }
      return session;
    });
  }

  /** The slot whose token has the label, and the serial number where one is given. */
  async #slot(module: Pkcs11Module, memory: Memory): Promise<{ readonly slot: bigint; readonly flags: bigint }> {
    const { token, serial, timeoutMs } = this.#options;
    const found: { readonly slot: bigint; readonly flags: bigint }[] = [];
    const info = memory.take(TOKEN_INFO.sizeBytes);
    for (const slot of await slotsOf(module, memory, timeoutMs)) {
      try {
        await module.call('getTokenInfo', timeoutMs, slot, info.address);
      } catch (error) {
        // One that went since the list was made, or another token that is broken.
        if (error instanceof Pkcs11Error) continue;
        throw error;
      }
      const text = ([from, to]: readonly [number, number]): string => info.bytes.toString('utf8', from, to).trimEnd();
      if (text(TOKEN_INFO.label) === token && (serial === undefined || text(TOKEN_INFO.serial) === serial)) found.push({ slot, flags: info.bytes.readBigUInt64LE(TOKEN_INFO.flags) });
    }
    const [only] = found;
    if (only === undefined) throw new Error(`${this.#options.module} shows no token of that label${serial === undefined ? '' : ' and serial number'}`);
    if (found.length > 1) throw fail('IDENTITY_KEY_REFUSED', `${found.length} tokens are labelled ${quote(token)}`, { hint: 'set `keys.pkcs11.serial`' });
    return only;
  }

  async #login(module: Pkcs11Module, memory: Memory, session: bigint, flags: bigint): Promise<void> {
    const { token, pin, timeoutMs } = this.#options;
    const locked = (why: string, cause?: unknown): IsthmusError =>
      fail('IDENTITY_KEY_LOCKED', `the token ${quote(token)} is closed: ${why}`, { cause, hint: 'put the right PIN into `keys.pkcs11.pinFile`; a PIN that was refused is not tried again' });
    if ((flags & BigInt(CKF.userPinLocked)) !== 0n) throw locked('its user PIN is locked');
    if ((flags & BigInt(CKF.userPinFinalTry)) !== 0n) throw locked('one try is left before its user PIN is locked, and is left to you');
    const secret = await pin();
    const hash = createHash('sha256').update(secret).digest('hex');
    if (hash === this.#refusedPin) throw locked('its PIN was refused');
    const text = memory.copy(secret);
    secret.fill(0);
    try {
      await module.call('login', timeoutMs, session, CKU_USER, text.address, text.bytes.length);
    } catch (error) {
      // Logged in already by another session of this process.
      if (error instanceof Pkcs11Error && error.returned === CKR.userAlreadyLoggedIn) return;
      if (!(error instanceof Pkcs11Error) || !PIN_REFUSED.includes(error.returned)) throw error;
      this.#refusedPin = hash;
      throw locked(error.message, error);
    }
  }
}

async function slotsOf(module: Pkcs11Module, memory: Memory, timeoutMs: number): Promise<readonly bigint[]> {
  const [count, list] = [memory.take(8), memory.take(8 * MAX_SLOTS)];
  // Asked for without a list first: a module looks for tokens that came or went then (§5.5).
  await module.call('getSlotList', timeoutMs, 1, null, count.address);
  count.bytes.writeBigUInt64LE(BigInt(MAX_SLOTS));
  await module.call('getSlotList', timeoutMs, 1, list.address, count.address);
  return Array.from({ length: Number(count.bytes.readBigUInt64LE(0)) }, (_, i) => list.bytes.readBigUInt64LE(8 * i));
}

function sessionOn(module: Pkcs11Module, session: bigint, timeoutMs: number): Session {
  return {
    find: (objectClass, label) =>
      module.use(async (memory) => {
        const template = templateOf(memory, [attribute.number(CKA.class, objectClass), attribute.bytes(CKA.label, Buffer.from(label))]);
        const [list, count] = [memory.take(8 * MAX_FOUND), memory.take(8)];
        await module.call('findObjectsInit', timeoutMs, session, template.address, 2);
        try {
          await module.call('findObjects', timeoutMs, session, list.address, MAX_FOUND, count.address);
        } finally {
          await module.call('findObjectsFinal', timeoutMs, session).catch(() => undefined);
        }
        return Array.from({ length: Number(count.bytes.readBigUInt64LE(0)) }, (_, i) => list.bytes.readBigUInt64LE(8 * i));
      }),
    attributes: (handle, types) => module.use((memory) => readAttributes(memory, types, (address, length) => module.call('getAttributeValue', timeoutMs, session, handle, address, length))),
    sign: (mechanism, handle, bytes) =>
      module.use(async (memory) => {
        // CK_MECHANISM without a parameter.
        const chosen = memory.take(24);
        chosen.bytes.writeBigUInt64LE(BigInt(mechanism), 0);
        const [data, into, length] = [memory.copy(bytes), memory.take(MAX_SIGNATURE_BYTES), memory.take(8)];
        length.bytes.writeBigUInt64LE(BigInt(MAX_SIGNATURE_BYTES), 0);
        await module.call('signInit', timeoutMs, session, chosen.address, handle);
        await module.call('sign', timeoutMs, session, data.address, bytes.length, into.address, length.address);
        return Buffer.from(into.bytes.subarray(0, Number(length.bytes.readBigUInt64LE(0))));
      }),
    generatePair: (mechanism, publicKey, privateKey, limitMs) =>
      module.use(async (memory) => {
        const chosen = memory.take(24);
        chosen.bytes.writeBigUInt64LE(BigInt(mechanism), 0);
        const [publicOne, privateOne, handles] = [templateOf(memory, publicKey), templateOf(memory, privateKey), memory.take(16)];
        await module.call('generateKeyPair', limitMs, session, chosen.address, publicOne.address, publicKey.length, privateOne.address, privateKey.length, handles.address, handles.address + 8n);
      }),
    destroy: (handle) => module.call('destroyObject', timeoutMs, session, handle),
  };
}
