// The door to node-forge's ASN.1: the few DER shapes that certificates and requests are made of, written and read strictly.
import type { KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { OID } from './oid.ts';
import { signBytes } from './signer.ts';

const { asn1 } = forge;
export type Asn1 = forge.asn1.Asn1;
const { Class, Type } = asn1;

const node = (tag: number, constructed: boolean, value: string | Asn1[]): Asn1 => asn1.create(Class.UNIVERSAL, tag, constructed, value as Asn1[]);

export const seq = (...items: Asn1[]): Asn1 => node(Type.SEQUENCE, true, items);
export const set = (...items: Asn1[]): Asn1 => node(Type.SET, true, items);
export const oid = (dotted: string): Asn1 => node(Type.OID, false, asn1.oidToDer(dotted).getBytes());
export const utf8 = (text: string): Asn1 => node(Type.UTF8, false, Buffer.from(text).toString('latin1'));
export const bool = (value: boolean): Asn1 => node(Type.BOOLEAN, false, value ? '\u00ff' : '\u0000');
export const nothing = (): Asn1 => node(Type.NULL, false, '');
export const int = (bytes: Buffer): Asn1 => node(Type.INTEGER, false, bytes.toString('latin1'));
export const smallInt = (value: number): Asn1 => int(Buffer.from([value]));
export const octets = (bytes: Buffer): Asn1 => node(Type.OCTETSTRING, false, bytes.toString('latin1'));
export const bits = (bytes: Buffer, unused = 0): Asn1 => node(Type.BITSTRING, false, String.fromCharCode(unused) + bytes.toString('latin1'));
/** An implicit context tag over primitive bytes, or an explicit one over items. */
export const tagged = (tag: number, value: Buffer | readonly Asn1[]): Asn1 =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, !Buffer.isBuffer(value), (Buffer.isBuffer(value) ? value.toString('latin1') : [...value]) as Asn1[]);

export function toDer(item: Asn1): Buffer {
  return Buffer.from(asn1.toDer(item).getBytes(), 'latin1');
}

/**
 * Parses exactly one DER value, nothing left over and no other form of the same value (X.690 §10, §11): what is signed
 * has one encoding. **Throws** TypeError or whatever forge throws, for the caller to turn into a refusal.
 */
export function fromDer(der: Buffer): Asn1 {
  // The published types know a boolean only; options are what the library takes since 1.0.
  const options = { strict: true, parseAllBytes: true } as unknown as boolean;
  const value = asn1.fromDer(forge.util.createBuffer(der.toString('latin1')), options);
  if (!toDer(value).equals(der)) throw new TypeError('is BER, not DER');
  return value;
}

/** The children of a constructed value. **Throws** TypeError for a primitive. */
export function childrenOf(item: Asn1 | undefined): Asn1[] {
  if (item === undefined || !Array.isArray(item.value)) throw new TypeError('expected a constructed ASN.1 value');
  return item.value;
}

/** The bytes of a primitive value. **Throws** TypeError for a constructed one. */
export function bytesOf(item: Asn1 | undefined): Buffer {
  if (item === undefined || typeof item.value !== 'string') throw new TypeError('expected a primitive ASN.1 value');
  return Buffer.from(item.value, 'latin1');
}

export function oidOf(item: Asn1 | undefined): string {
  return asn1.derToOid(bytesOf(item).toString('latin1'));
}

export function isContext(item: Asn1 | undefined, tag: number): boolean {
  return item !== undefined && item.tagClass === Class.CONTEXT_SPECIFIC && (item.type as number) === tag;
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(atMs: number): Asn1 {
  const date = new Date(atMs);
  return date.getUTCFullYear() < 2050
    ? node(Type.UTCTIME, false, asn1.dateToUtcTime(date) as string)
    : node(Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date) as string);
}

/** A distinguished name of organization and common name. */
export function name(parts: { readonly organization?: string; readonly commonName?: string }): Asn1 {
  const attribute = (type: string, text: string): Asn1 => set(seq(oid(type), utf8(text)));
  return seq(
    ...(parts.organization === undefined ? [] : [attribute(OID.organization, parts.organization)]),
    ...(parts.commonName === undefined ? [] : [attribute(OID.commonName, parts.commonName)]),
  );
}

export function extension(type: string, critical: boolean, value: Asn1): Asn1 {
  return seq(oid(type), ...(critical ? [bool(true)] : []), octets(toDer(value)));
}

/** The signature algorithm a key signs certificates with (SHA-256; Ed25519 has its own hash). */
export function signatureAlgorithm(key: KeyObject): Asn1 {
  switch (key.asymmetricKeyType) {
    case 'ec':
      return seq(oid(OID.ecdsaSha256));
    case 'ed25519':
      return seq(oid(OID.ed25519));
    default:
      return seq(oid(OID.rsaSha256), nothing());
  }
}

/** What is to be signed, and what it is once the signature is there. */
export type Draft = { readonly bytes: Buffer; readonly finish: (signature: Buffer) => Buffer };

/** A to-be-signed value for a key of the kind of `key`, which may be its public half. */
export function draft(tbs: Asn1 | Buffer, key: KeyObject): Draft {
  const bytes = Buffer.isBuffer(tbs) ? tbs : toDer(tbs);
  // Put together from what is encoded already: encoding the whole once more would be a third of the work of issuing.
  return { bytes, finish: (signature) => encoded(TAG_SEQUENCE, bytes, toDer(signatureAlgorithm(key)), encoded(TAG_BIT_STRING, Buffer.from([0]), signature)) };
}

/** A SEQUENCE of values, some of them encoded already. */
export function sequenceDer(items: readonly (Asn1 | Buffer)[]): Buffer {
  return encoded(TAG_SEQUENCE, ...items.map((item) => (Buffer.isBuffer(item) ? item : toDer(item))));
}

const TAG_SEQUENCE = 0x30;
const TAG_BIT_STRING = 0x03;

/** Tag, length in the fewest octets (X.690 §10.1), and contents. */
function encoded(tag: number, ...contents: readonly Buffer[]): Buffer {
  const length = contents.reduce((sum, part) => sum + part.length, 0);
  const octets = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  if (length > 0xffff) throw new RangeError(`${length} bytes are more than is ever signed here`);
  return Buffer.concat([Buffer.from([tag, ...octets]), ...contents]);
}

/** Wraps a to-be-signed value with algorithm and signature, as certificates and requests do. */
export function signed(tbs: Asn1 | Buffer, key: KeyObject): Buffer {
  const { bytes, finish } = draft(tbs, key);
  return finish(signBytes(key, bytes));
}

const spkis = new WeakMap<KeyObject, Buffer>();

/** A public key as SubjectPublicKeyInfo in DER; a certificate asks for it twice. */
export function spkiDer(publicKey: KeyObject): Buffer {
  let value = spkis.get(publicKey);
  if (value === undefined) {
    value = publicKey.export({ type: 'spki', format: 'der' });
    spkis.set(publicKey, value);
  }
  return value;
}
