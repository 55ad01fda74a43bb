// Certificate signing requests (PKCS#10, RFC 2986): made with one URI SAN, read strictly and believed only for their key.
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { messageOf, type Parsed, parsed, refused, type SpiffeId } from '@isthmus/model';
import { extension, name, oid, seq, set, sequenceDer, signed, smallInt, spkiDer, tagged } from './der.ts';
import { OID } from './oid.ts';
import { bitsOf, booleanOf, context, type Der, DerFault, expect, integerOf, itemsOf, oidTextOf, readDer, sequenceOf, TAG } from './der-reader.ts';
import { createPublicKeyOf, weaknessOf, writesCurveOut } from './key.ts';
import { type GeneralName, generalNamesOf } from './name-constraints.ts';

const MAX_CSR_BYTES = 16 * 1024;
const MAX_NAMES = 16;

/** What a request asks for. The issuer takes the key from it and decides every name itself. */
export type Csr = {
  readonly publicKey: KeyObject;
  /** URI names asked for, as they stand. */
  readonly spiffeIds: readonly string[];
  readonly dnsNames: readonly string[];
  /** How many names of other forms it asks for: addresses, e-mail, directory names. */
  readonly otherNames: number;
};

/** Makes a request in DER, with the SPIFFE ID as its only name, or with none where the issuer knows it alone. */
export function makeCsr({ key, spiffeId }: { readonly key: KeyObject; readonly spiffeId?: SpiffeId | undefined }): Buffer {
  const san = spiffeId === undefined ? [] : [extension(OID.subjectAltName, false, seq(tagged(6, Buffer.from(spiffeId))))];
  const attributes = tagged(0, san.map((name) => seq(oid(OID.extensionRequest), set(seq(name)))));
  return signed(sequenceDer([smallInt(0), name({}), spkiDer(createPublicKeyOf(key)), attributes]), key);
}

/** Signature algorithms of requests: the kind of key that makes them, and their hash; SHA-1 is not among them. */
const SIGNATURES: Readonly<Record<string, { readonly keyType: string; readonly hash: string | null }>> = {
  [OID.ecdsaSha256]: { keyType: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { keyType: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { keyType: 'ec', hash: 'sha512' },
  [OID.rsaSha256]: { keyType: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { keyType: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { keyType: 'rsa', hash: 'sha512' },
  [OID.ed25519]: { keyType: 'ed25519', hash: null },
};
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

/**
 * Reads a request: at most 16 KiB of strict DER, signed by its own key, the key strong enough, no request to be a CA.
 * What is wrong is said; names are returned and judged by the issuer (CVE-2022-40716).
 */
export function parseCsr(der: Buffer): Parsed<Csr> {
  if (der.byteLength > MAX_CSR_BYTES) return refused('csr', `larger than ${MAX_CSR_BYTES} bytes`);
  try {
    return read(der);
  } catch (error) {
    return refused('csr', `is no PKCS#10 request in DER${error instanceof DerFault ? `: it ${messageOf(error)}` : ''}`);
  }
}

function read(der: Buffer): Parsed<Csr> {
  const [info, algorithm, signature, ...more] = sequenceOf(readDer(der));
  const [version, subject, keyInfo, attributes, ...others] = sequenceOf(info);
  if (info === undefined || keyInfo === undefined || more.length > 0 || others.length > 0) throw new DerFault('has not the parts of a request');
  if (!integerOf(version).equals(Buffer.from([0]))) throw new DerFault('is not of version 1');
  expect(subject, TAG.sequence);
  const publicKey = createPublicKey({ key: keyInfo.whole, format: 'der', type: 'spki' });
  const weakness = writesCurveOut(keyInfo.whole) ? 'EC key that does not name its curve' : weaknessOf(publicKey);
  if (weakness !== undefined) return refused('csr', weakness);
  const method = SIGNATURES[oidTextOf(sequenceOf(algorithm)[0])];
  if (method === undefined || method.keyType !== publicKey.asymmetricKeyType) return refused('csr', 'is signed by a method that is not used here');
  if (!verify(method.hash, info.whole, publicKey, bitsOf(signature).bytes)) return refused('csr', 'is not signed by its own key');
  const names: GeneralName[] = [];
  const seen = new Set<string>();
  for (const { type, value } of extensionsAsked(attributes)) {
    if (seen.has(type)) throw new DerFault(`asks for extension ${type} twice`);
    seen.add(type);
    if (type === OID.basicConstraints && itemsOf(value).length > 0) return refused('csr', 'asks to be a certificate authority');
    if (type === OID.keyUsage && ((bitsOf(value).bytes[0] ?? 0) & (KEY_CERT_SIGN | CRL_SIGN)) !== 0) return refused('csr', 'asks to sign certificates or CRLs');
    if (type !== OID.subjectAltName) continue;
    if (sequenceOf(value).length > MAX_NAMES) return refused('csr', `asks for more than ${MAX_NAMES} names`);
    names.push(...generalNamesOf(value));
  }
  const of = (form: GeneralName['form']): string[] => names.filter((item) => item.form === form).map((item) => item.text);
  const spiffeIds = of('uri');
  const dnsNames = of('dns');
  return parsed({ publicKey, spiffeIds, dnsNames, otherNames: names.length - spiffeIds.length - dnsNames.length });
}

/** The extensions of the one extension request among the attributes (RFC 2985 §5.4.2); other attributes ask for nothing here. */
function extensionsAsked(attributes: Der | undefined): readonly { readonly type: string; readonly value: Der }[] {
  if (attributes === undefined) return [];
  const requests = itemsOf(expect(attributes, context(0, true))).map(sequenceOf).filter(([type]) => oidTextOf(type) === OID.extensionRequest);
  const [request, ...more] = requests;
  if (request === undefined) return [];
  const [list, ...others] = itemsOf(expect(request[1], TAG.set));
  if (more.length > 0 || others.length > 0) throw new DerFault('asks for extensions twice');
  return sequenceOf(list).map((item) => {
    const [type, ...rest] = sequenceOf(item);
    if (rest.length === 2) booleanOf(rest[0]);
    else if (rest.length !== 1) throw new DerFault('has an extension of a wrong shape');
    return { type: oidTextOf(type), value: readDer(expect(rest.at(-1), TAG.octetString).value) };
  });
}
