// Certificate signing requests (PKCS#10, RFC 2986): made with one URI SAN, read strictly and believed only for their key.
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { type Parsed, parsed, refused, type SpiffeId } from '@isthmus/model';
import { type Asn1, bytesOf, childrenOf, extension, fromDer, isContext, name, OID, oid, oidOf, seq, set, signed, smallInt, spki, tagged, toDer } from './der.ts';
import { createPublicKeyOf, weaknessOf } from './key.ts';

const MAX_CSR_BYTES = 16 * 1024;
const MAX_NAMES = 16;

/** What a request asks for. The issuer takes the key from it and decides every name itself. */
export type Csr = {
  readonly publicKey: KeyObject;
  /** URI names asked for, as they stand. */
  readonly spiffeIds: readonly string[];
  readonly dnsNames: readonly string[];
};

/** Makes a request in DER, with the SPIFFE ID as its only name, or with none where the issuer knows it alone. */
export function makeCsr({ key, spiffeId }: { readonly key: KeyObject; readonly spiffeId?: SpiffeId | undefined }): Buffer {
  const san = spiffeId === undefined ? [] : [extension(OID.subjectAltName, false, seq(tagged(6, Buffer.from(spiffeId))))];
  const attributes = tagged(0, san.map((name) => seq(oid(OID.extensionRequest), set(seq(name)))));
  return signed(seq(smallInt(0), name({}), spki(createPublicKeyOf(key)), attributes), key);
}

/**
 * Reads a request: at most 16 KiB of strict DER, signed by its own key, the key strong enough, no request to be a CA.
 * What is wrong is said; names are returned and judged by the issuer (CVE-2022-40716).
 */
export function parseCsr(der: Buffer): Parsed<Csr> {
  if (der.byteLength > MAX_CSR_BYTES) return refused('csr', `larger than ${MAX_CSR_BYTES} bytes`);
  try {
    return read(der);
  } catch {
    return refused('csr', 'is no PKCS#10 request in DER');
  }
}

function read(der: Buffer): Parsed<Csr> {
  const [info, , signature] = childrenOf(fromDer(der));
  const [, , keyInfo, attributes] = childrenOf(info);
  if (info === undefined || keyInfo === undefined) return refused('csr', 'has no key');
  const publicKey = createPublicKey({ key: toDer(keyInfo), format: 'der', type: 'spki' });
  const weakness = weaknessOf(publicKey);
  if (weakness !== undefined) return refused('csr', weakness);
  const hash = publicKey.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  if (!verify(hash, toDer(info), publicKey, signatureOf(signature))) return refused('csr', 'is not signed by its own key');
  const spiffeIds: string[] = [];
  const dnsNames: string[] = [];
  for (const item of extensionsAsked(attributes)) {
    const [type, ...rest] = childrenOf(item);
    const value = bytesOf(rest.at(-1));
    if (oidOf(type) === OID.basicConstraints && childrenOf(fromDer(value)).length > 0) return refused('csr', 'asks to be a certificate authority');
    if (oidOf(type) !== OID.subjectAltName) continue;
    for (const san of childrenOf(fromDer(value))) {
      if (isContext(san, 6)) spiffeIds.push(bytesOf(san).toString('latin1'));
      else if (isContext(san, 2)) dnsNames.push(bytesOf(san).toString('latin1'));
      if (spiffeIds.length + dnsNames.length > MAX_NAMES) return refused('csr', `asks for more than ${MAX_NAMES} names`);
    }
  }
  return parsed({ publicKey, spiffeIds, dnsNames });
}

function extensionsAsked(attributes: Asn1 | undefined): Asn1[] {
  if (attributes === undefined || !isContext(attributes, 0)) return [];
  return childrenOf(attributes).flatMap((attribute) => {
    const [type, values] = childrenOf(attribute);
    return oidOf(type) === OID.extensionRequest ? childrenOf(values).flatMap((list) => childrenOf(list)) : [];
  });
}

function signatureOf(item: Asn1 | undefined): Buffer {
  // forge parses a BIT STRING that happens to hold DER into its parts; the signature is wanted as bytes.
  if (item === undefined) throw new TypeError('no signature');
  const raw = (item as { readonly bitStringContents?: string }).bitStringContents;
  return typeof raw === 'string' ? Buffer.from(raw, 'latin1').subarray(1) : bytesOf(item).subarray(1);
}
