// The door to a PKCS#11 module (OASIS PKCS#11 v2.40): the calls that a signing key needs, made on a thread of their own, with a limit each.
import type { TypeObject } from 'koffi';
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { CKF, CKR, nameOfReturn } from './constants.ts';
import { type Memory, NativeMemory } from './native-memory.ts';

/** Where each function stands in CK_FUNCTION_LIST (§4.6), and what it takes: P a pointer, U an unsigned long, B a byte. */
const FUNCTIONS = {
  initialize: [0, 'P'],
  finalize: [1, 'P'],
  getSlotList: [4, 'BPP'],
  getTokenInfo: [6, 'UP'],
  openSession: [12, 'UUPPP'],
  closeSession: [13, 'U'],
  login: [18, 'UUPU'],
  destroyObject: [22, 'UU'],
  getAttributeValue: [24, 'UUPU'],
  findObjectsInit: [26, 'UPU'],
  findObjects: [27, 'UPUP'],
  findObjectsFinal: [28, 'U'],
  signInit: [42, 'UPU'],
  sign: [43, 'UPUPP'],
  generateKeyPair: [59, 'UPPUPUPP'],
} as const;
export type Pkcs11Function = keyof typeof FUNCTIONS;

/** A number, the address of memory, or the null pointer. */
type Argument = number | bigint | null;
type Native = { readonly async: (...args: readonly unknown[]) => void };

/** A call that answered with something else than CKR_OK. */
export class Pkcs11Error extends Error {
  readonly returned: number;
  constructor(name: Pkcs11Function, returned: number) {
    super(`${name} answered ${nameOfReturn(returned)}`);
    this.returned = returned;
  }
}

/**
 * A loaded module. One call at a time is made by its owner; memory a call is given must not be freed before the call
 * has returned, which may be after its limit.
 */
export class Pkcs11Module {
  readonly #functions: ReadonlyMap<Pkcs11Function, Native>;
  readonly #memory: NativeMemory;
  readonly #clock: Clock;
  #stuck: Pkcs11Function | undefined;

  private constructor(functions: ReadonlyMap<Pkcs11Function, Native>, memory: NativeMemory, clock: Clock) {
    this.#functions = functions;
    this.#memory = memory;
    this.#clock = clock;
  }

  /** Loads the library at `path` and initializes it. **Throws** IDENTITY_KEY_UNAVAILABLE. */
  static async open(path: string, clock: Clock, timeoutMs: number): Promise<Pkcs11Module> {
    const module = await Pkcs11Module.#load(path, clock).catch((cause: unknown) => {
      throw fail('IDENTITY_KEY_UNAVAILABLE', `the PKCS#11 module ${path} cannot be loaded: ${messageOf(cause)}`, { cause, hint: 'set `keys.pkcs11.module` to the library of the token’s vendor' });
    });
    try {
      await module.use(async (memory) => {
        // CK_C_INITIALIZE_ARGS: four functions for locks that are not ours, flags, a reserved pointer (§5.4).
        const args = memory.take(48);
        args.bytes.writeBigUInt64LE(BigInt(CKF.osLockingOk), 32);
        await module.call('initialize', timeoutMs, args.address);
      });
    } catch (error) {
      // Another part of this process, or an earlier opening, has done it.
      if (!(error instanceof Pkcs11Error && error.returned === CKR.cryptokiAlreadyInitialized)) throw error;
    }
    return module;
  }

  /** Memory for calls, freed when `work` has ended and no call is under way on it any more. */
  async use<T>(work: (memory: Memory) => Promise<T>): Promise<T> {
    const memory = this.#memory.open();
    try {
      return await work(memory);
    } finally {
      // What a call that hangs writes to must stay.
      if (this.#stuck === undefined) memory.free();
    }
  }

  /** **Throws** Pkcs11Error for any answer but CKR_OK; IDENTITY_KEY_UNAVAILABLE where none came in time, and from then on until it came. */
  async call(name: Pkcs11Function, timeoutMs: number, ...args: readonly Argument[]): Promise<void> {
    if (this.#stuck !== undefined) throw fail('IDENTITY_KEY_UNAVAILABLE', `the PKCS#11 module has not answered ${this.#stuck} yet`, { hint: 'see to the token; if it never answers, start the trust root anew' });
    const native = this.#functions.get(name);
    if (native === undefined) throw new TypeError(`${name} is not loaded`);
    const returned = await new Promise<number>((resolve, reject) => {
      const timer = this.#clock.setTimer(timeoutMs, () => {
        this.#stuck = name;
        reject(fail('IDENTITY_KEY_UNAVAILABLE', `the PKCS#11 module did not answer ${name} within ${timeoutMs} ms`, { hint: 'see to the token' }));
      });
      native.async(...args, (error: unknown, value: unknown) => {
        timer.cancel();
        this.#stuck = undefined;
        if (error !== null && error !== undefined) reject(error instanceof Error ? error : new Error(String(error)));
        else resolve(Number(value));
      });
    });
    if (returned !== CKR.ok) throw new Pkcs11Error(name, returned);
  }

  static async #load(path: string, clock: Clock): Promise<Pkcs11Module> {
    const { default: koffi } = await import('koffi');
    if (koffi.sizeof('unsigned long') !== 8 || koffi.sizeof('void *') !== 8) throw new Error('PKCS#11 is used on 64-bit Unix only');
    // `deep`: a module that brings OpenSSL must find its own, and not the one in this program.
    const getFunctionList = koffi.load(path, { deep: true }).func('C_GetFunctionList', 'unsigned long', ['void *']) as (into: unknown) => number;
    const memory = new NativeMemory(koffi);
    const place = memory.open();
    try {
      const into = place.take(8);
      const returned = Number(getFunctionList(into.address));
      if (returned !== CKR.ok) throw new Error(`C_GetFunctionList answered ${nameOfReturn(returned)}`);
      const list = into.bytes.readBigUInt64LE(0);
      if (list === 0n) throw new Error('it has no list of functions');
      const types = { P: 'void *', U: 'unsigned long', B: 'uint8_t' } as const;
      const functions = new Map<Pkcs11Function, Native>();
      for (const [name, [index, shape]] of Object.entries(FUNCTIONS) as [Pkcs11Function, readonly [number, string]][]) {
        const proto: TypeObject = koffi.proto('unsigned long', [...shape].map((letter) => types[letter as keyof typeof types]));
        // CK_VERSION is two bytes, then pointers as the machine aligns them.
        const address = memory.read(list + 8n + BigInt(8 * index), 8).readBigUInt64LE(0);
        if (address === 0n) throw new Error(`it has no ${name}`);
        functions.set(name, koffi.decode(address, proto) as Native);
      }
      return new Pkcs11Module(functions, memory, clock);
    } finally {
      place.free();
    }
  }
}
