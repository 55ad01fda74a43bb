// Keys in a PKCS#11 token: made there, never out of it, found by label.
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { quote } from '@isthmus/model';
import { type KeyKind, weaknessOf } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import type { KeyStore, StoredKey } from '../key-store.ts';
import { attribute, type Attribute } from './attributes.ts';
import { CKA, CKK, CKM, CKO } from './constants.ts';
import { Pkcs11Token, type Session } from './token.ts';

export type Pkcs11Options = {
  /** Path of the token vendor's library, such as `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly module: string;
  /** Label of the token. */
  readonly token: string;
  /** Its serial number, where two have one label. */
  readonly serial?: string | undefined;
  /** The user PIN; read at each login. */
  readonly pin: () => Promise<Buffer>;
  /** What the labels of the keys begin with: the federation’s name, say. */
  readonly label: string;
  /** For one call to the token. Default 8 s: less than a cluster waits for its intermediate. */
  readonly timeoutMs?: number | undefined;
  readonly clock: Clock;
};

const TIMEOUT_MS = 8_000;
/** Making an RSA key takes a token longer than signing. */
const MAKE_TIMEOUT_MS = 120_000;

/** P-256 by its object identifier in DER (RFC 5480 §2.1.1.1). */
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const RSA_EXPONENT = Buffer.from([1, 0, 1]);

/**
 * Opens nothing yet: the token is asked with the first key. EC P-256 and RSA keys can be made.
 * Every method **throws** IDENTITY_KEY_UNAVAILABLE while the token is away, IDENTITY_KEY_LOCKED for a wrong PIN,
 * IDENTITY_KEY_REFUSED for a key that is there twice, could be taken out, or is of a kind that cannot be.
 */
export function pkcs11KeyStore(options: Pkcs11Options): KeyStore {
  const { timeoutMs = TIMEOUT_MS } = options;
  const token = new Pkcs11Token({ ...options, timeoutMs });
  const labelOf = (name: string): string => `${options.label} ${name}`;
  const stored = (name: string, publicKey: KeyObject): StoredKey => ({ place: 'pkcs11', publicKey, sign: (bytes) => token.run((session) => signWith(session, labelOf(name), publicKey, bytes)) });
  const read = async (session: Session, name: string): Promise<StoredKey | undefined> => {
    const publicKey = await publicKeyOf(session, labelOf(name));
    return publicKey === undefined ? undefined : stored(name, publicKey);
  };
  return {
    place: 'pkcs11',
    read: (name) => token.run((session) => read(session, name)),
    make: (name, kind) =>
      token.run(async (session) => {
        const found = await read(session, name);
        if (found !== undefined) return found;
        await generate(session, labelOf(name), kind);
        const made = await read(session, name);
        if (made === undefined) throw fail('IDENTITY_KEY_REFUSED', `the token made a key ${quote(labelOf(name))} and does not show it`);
        return made;
      }),
    destroy: (name) =>
      token.run(async (session) => {
        // The private half first: what is left of a destruction that was cut off signs nothing.
        for (const objectClass of [CKO.privateKey, CKO.publicKey]) {
          for (const handle of await session.find(objectClass, labelOf(name))) await session.destroy(handle);
        }
      }),
    close: () => token.close(),
  };
}

/** The public half of the one key of that label; undefined where there is none. */
async function publicKeyOf(session: Session, label: string): Promise<KeyObject | undefined> {
  const [privateHandle, publicHandle] = [await oneOf(session, CKO.privateKey, label), await oneOf(session, CKO.publicKey, label)];
  if (privateHandle === undefined) return undefined;
  const refused = (why: string): Error => fail('IDENTITY_KEY_REFUSED', `the key ${quote(label)} in the token is refused: ${why}`);
  const secrecy = await session.attributes(privateHandle, [CKA.sensitive, CKA.extractable]);
  if (secrecy.get(CKA.sensitive)?.[0] !== 1 || secrecy.get(CKA.extractable)?.[0] !== 0) throw refused('it could be taken out of the token');
  if (publicHandle === undefined) throw refused('its public half is missing');
  const found = await session.attributes(publicHandle, [CKA.keyType, CKA.ecParams, CKA.ecPoint, CKA.modulus, CKA.publicExponent]);
  const key = keyOf(found);
  if (key === undefined) throw refused('it is neither EC P-256 nor RSA');
  return key;
}

async function oneOf(session: Session, objectClass: number, label: string): Promise<bigint | undefined> {
  const [handle, ...more] = await session.find(objectClass, label);
  if (more.length > 0) throw fail('IDENTITY_KEY_REFUSED', `the token holds ${more.length + 1} keys labelled ${quote(label)}`, { hint: 'remove the ones that are not the root’s' });
  return handle;
}

/** Reads what a token says of a public key; undefined for one that cannot be used here. */
export function keyOf(found: ReadonlyMap<number, Buffer>): KeyObject | undefined {
  const [type, params, point] = [found.get(CKA.keyType), found.get(CKA.ecParams), found.get(CKA.ecPoint)];
  const [modulus, exponent] = [found.get(CKA.modulus), found.get(CKA.publicExponent)];
  if (type?.length !== 8) return undefined;
  const kind = Number(type.readBigUInt64LE(0));
  try {
    if (kind === CKK.rsa && modulus !== undefined && exponent !== undefined) {
      const key = createPublicKey({ key: { kty: 'RSA', n: base64url(modulus), e: base64url(exponent) }, format: 'jwk' });
      return weaknessOf(key) === undefined ? key : undefined;
    }
    if (kind !== CKK.ec || point === undefined || params?.equals(P256) !== true) return undefined;
    // An uncompressed point, inside an OCTET STRING as the standard says, or bare as some tokens have it.
    const bare = point.length === 67 && point[0] === 0x04 && point[1] === 65 ? point.subarray(2) : point;
    if (bare.length !== 65 || bare[0] !== 0x04) return undefined;
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: base64url(bare.subarray(1, 33)), y: base64url(bare.subarray(33)) }, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function base64url(bytes: Buffer): string {
  const first = bytes.findIndex((byte) => byte !== 0);
  // A modulus may come with zeros before it; a coordinate is never shorter than the curve.
  return (bytes.length === 32 || first === -1 ? bytes : bytes.subarray(first)).toString('base64url');
}

async function generate(session: Session, label: string, kind: KeyKind): Promise<void> {
  const name = attribute.bytes(CKA.label, Buffer.from(label));
  const id = attribute.bytes(CKA.id, createHash('sha256').update(label).digest().subarray(0, 20));
  const common = [attribute.flag(CKA.token, true), name, id];
  const privateKey = [...common, attribute.flag(CKA.private, true), attribute.flag(CKA.sensitive, true), attribute.flag(CKA.extractable, false), attribute.flag(CKA.sign, true)];
  const publicKey = (...more: readonly Attribute[]): Attribute[] => [...common, attribute.flag(CKA.private, false), attribute.flag(CKA.verify, true), ...more];
  switch (kind) {
    case 'ec-p256':
      return session.generatePair(CKM.ecKeyPairGen, publicKey(attribute.bytes(CKA.ecParams, P256)), privateKey, MAKE_TIMEOUT_MS);
    case 'rsa-2048':
    case 'rsa-3072': {
      const bits = attribute.number(CKA.modulusBits, kind === 'rsa-2048' ? 2_048 : 3_072);
      return session.generatePair(CKM.rsaPkcsKeyPairGen, publicKey(bits, attribute.bytes(CKA.publicExponent, RSA_EXPONENT)), privateKey, MAKE_TIMEOUT_MS);
    }
    case 'ed25519':
      throw fail('IDENTITY_KEY_REFUSED', 'a key of kind ed25519 is not made in tokens', { hint: 'set `keyKind` to ec-p256 or rsa-3072' });
  }
}

async function signWith(session: Session, label: string, publicKey: KeyObject, bytes: Buffer): Promise<Buffer> {
  const handle = await oneOf(session, CKO.privateKey, label);
  // No refusal: it is looked for once more in a new session, and told as a token that cannot be used.
  if (handle === undefined) throw new Error(`it holds no key ${quote(label)} any more`);
  if (publicKey.asymmetricKeyType === 'rsa') return session.sign(CKM.sha256RsaPkcs, handle, bytes);
  // The digest is made here: every token knows bare ECDSA, not every one ECDSA with a hash.
  return derSignature(await session.sign(CKM.ecdsa, handle, createHash('sha256').update(bytes).digest()));
}

/** r and s side by side (PKCS#11 §2.3.1) as the SEQUENCE that certificates carry (RFC 3279 §2.2.3). */
export function derSignature(raw: Buffer): Buffer {
  const half = raw.length / 2;
  const parts = [raw.subarray(0, half), raw.subarray(half)].map((part) => {
    const first = part.findIndex((byte) => byte !== 0);
    const digits = first === -1 ? Buffer.from([0]) : part.subarray(first);
    const value = (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), digits]) : digits;
    return Buffer.concat([Buffer.from([0x02, value.length]), value]);
  });
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}
