// For tests: certificates with whatever flaw one wants, written octet by octet, so that even what is no DER can be made.
import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { OID } from './oid.ts';

/** Any value: identifier octet and contents. */
export function tlv(tag: number, ...contents: readonly Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  const { byteLength } = body;
  const length = byteLength < 128 ? [byteLength] : byteLength < 256 ? [0x81, byteLength] : byteLength < 65_536 ? [0x82, byteLength >> 8, byteLength & 255] : [0x83, byteLength >> 16, (byteLength >> 8) & 255, byteLength & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

export const derSeq = (...items: readonly Buffer[]): Buffer => tlv(0x30, ...items);
export const derInt = (...octets: readonly number[]): Buffer => tlv(0x02, Buffer.from(octets));
export const derTrue: Buffer = Buffer.from([0x01, 0x01, 0xff]);
export const derText = (tag: number, text: string): Buffer => tlv(tag, Buffer.from(text, 'latin1'));

export function derOid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  });
  return tlv(0x06, Buffer.from(octets));
}

/** A distinguished name with one common name, or the empty one. */
export function derName(commonName: string, stringTag = 0x0c): Buffer {
  return commonName === '' ? derSeq() : derSeq(tlv(0x31, derSeq(derOid(OID.commonName), tlv(stringTag, Buffer.from(commonName)))));
}

export function derUtc(atMs: number): Buffer {
  return derText(0x17, `${new Date(atMs).toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`);
}

export function derGeneralized(atMs: number): Buffer {
  return derText(0x18, `${new Date(atMs).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`);
}

export function derExtension(type: string, isCritical: boolean, value: Buffer): Buffer {
  return derSeq(derOid(type), ...(isCritical ? [derTrue] : []), tlv(0x04, value));
}

export const uriName = (uri: string): Buffer => derText(0x86, uri);
export const dnsName = (dns: string): Buffer => derText(0x82, dns);

/** The usual extensions, each to be had with a flaw. */
export const ext = {
  basicConstraints: (isCa: boolean, pathLength?: number, isCritical = true): Buffer => derExtension(OID.basicConstraints, isCritical, derSeq(...(isCa ? [derTrue] : []), ...(pathLength === undefined ? [] : [derInt(pathLength)]))),
  keyUsage: (bits: number, isCritical = true): Buffer => {
    let unused = 0;
    while (bits !== 0 && ((bits >> unused) & 1) === 0) unused += 1;
    return derExtension(OID.keyUsage, isCritical, tlv(0x03, Buffer.from(bits === 0 ? [0] : [unused, bits])));
  },
  extKeyUsage: (usages: readonly string[], isCritical = false): Buffer => derExtension(OID.extKeyUsage, isCritical, derSeq(...usages.map(derOid))),
  altNames: (names: readonly Buffer[], isCritical = false): Buffer => derExtension(OID.subjectAltName, isCritical, derSeq(...names)),
  /** Names by constraint: `permitted` under tag 0, `excluded` under tag 1. */
  nameConstraints: (lists: { readonly permitted?: readonly Buffer[]; readonly excluded?: readonly Buffer[] }, isCritical = true): Buffer => {
    const subtrees = (tag: number, list: readonly Buffer[] | undefined): Buffer[] => (list === undefined ? [] : [tlv(tag, ...list.map((base) => derSeq(base)))]);
    return derExtension(OID.nameConstraints, isCritical, derSeq(...subtrees(0xa0, lists.permitted), ...subtrees(0xa1, lists.excluded)));
  },
  subjectKeyId: (id: Buffer, isCritical = false): Buffer => derExtension(OID.subjectKeyId, isCritical, tlv(0x04, id)),
  authorityKeyId: (id: Buffer, isCritical = false): Buffer => derExtension(OID.authorityKeyId, isCritical, derSeq(tlv(0x80, id))),
};

/** SHA-1 of a key's SubjectPublicKeyInfo: as good a key identifier as any. */
export function keyIdOf(key: KeyObject): Buffer {
  return createHash('sha1').update(publicOf(key).export({ type: 'spki', format: 'der' })).digest();
}

function publicOf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

export type SignatureHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** The algorithm identifier of a key's signatures with that hash. */
export function signatureAlgorithmOf(key: KeyObject, hash: SignatureHash = 'sha256'): Buffer {
  if (key.asymmetricKeyType === 'ed25519') return derSeq(derOid(OID.ed25519));
  if (key.asymmetricKeyType === 'ec') return derSeq(derOid({ sha1: '1.2.840.10045.4.1', sha256: OID.ecdsaSha256, sha384: '1.2.840.10045.4.3.3', sha512: '1.2.840.10045.4.3.4' }[hash]));
  return derSeq(derOid({ sha1: '1.2.840.113549.1.1.5', sha256: OID.rsaSha256, sha384: '1.2.840.113549.1.1.12', sha512: '1.2.840.113549.1.1.13' }[hash]), Buffer.from([5, 0]));
}

export type OddCertificate = {
  /** Whom it is for: private or public. */
  readonly key: KeyObject;
  readonly signer: KeyObject;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBefore: Buffer;
  readonly notAfter: Buffer;
  readonly extensions: readonly Buffer[];
  /** The whole INTEGER. */
  readonly serial?: Buffer;
  /** 2 is version 3; undefined writes none, which is version 1. */
  readonly version?: number | undefined;
  readonly hash?: SignatureHash;
  readonly innerAlgorithm?: Buffer;
  readonly outerAlgorithm?: Buffer;
  readonly spki?: Buffer;
  /** Values after the subject's key and before the extensions: unique identifiers. */
  readonly uniqueIds?: Buffer;
  /** The last word on what is signed. */
  readonly alterTbs?: (tbs: Buffer) => Buffer;
  /** The last word on the signature. */
  readonly alterSignature?: (signature: Buffer) => Buffer;
  /** The last word on the whole. */
  readonly alterWhole?: (der: Buffer) => Buffer;
};

/** Writes and signs such a certificate. */
export function makeOddCertificate(c: OddCertificate): Buffer {
  const algorithm = signatureAlgorithmOf(c.signer, c.hash);
  const version = 'version' in c ? c.version : 2;
  const tbs = derSeq(
    ...(version === undefined ? [] : [tlv(0xa0, derInt(version))]),
    c.serial ?? derInt(0x51, 1, 2, 3),
    c.innerAlgorithm ?? algorithm,
    c.issuer,
    derSeq(c.notBefore, c.notAfter),
    c.subject,
    c.spki ?? publicOf(c.key).export({ type: 'spki', format: 'der' }),
    ...(c.uniqueIds === undefined ? [] : [c.uniqueIds]),
    ...(c.extensions.length === 0 ? [] : [tlv(0xa3, derSeq(...c.extensions))]),
  );
  const altered = c.alterTbs?.(tbs) ?? tbs;
  const signature = sign(c.signer.asymmetricKeyType === 'ed25519' ? null : (c.hash ?? 'sha256'), altered, c.signer);
  const whole = derSeq(altered, c.outerAlgorithm ?? algorithm, tlv(0x03, Buffer.from([0]), c.alterSignature?.(signature) ?? signature));
  return c.alterWhole?.(whole) ?? whole;
}
