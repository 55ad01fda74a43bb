// Signed documents in PKCS#7 / CMS (RFC 5652), as clouds give their instances: one signer, pinned certificates, content inside.
import { createHash, timingSafeEqual, verify, type X509Certificate } from 'node:crypto';
import { messageOf } from '@isthmus/model';
import forge from 'node-forge';
import { type Asn1, bytesOf, childrenOf, isContext, oidOf, set, toDer } from './der.ts';

export type Pkcs7Verdict =
  | { readonly ok: true; readonly content: Buffer; readonly signer: X509Certificate }
  | { readonly ok: false; readonly reason: 'malformed' | 'bad-signature' | 'expired'; readonly detail: string };

/** An instance identity document with its signature and certificate has about 3 KiB. */
export const MAX_PKCS7_BYTES = 32 * 1024;
const SIGNED_DATA = '1.2.840.113549.1.7.2';
const DATA = '1.2.840.113549.1.7.1';
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
/** No SHA-1 and no DSA: the older signatures of instance documents are not taken. */
const HASHES: Readonly<Record<string, string>> = { '2.16.840.1.101.3.4.2.1': 'sha256', '2.16.840.1.101.3.4.2.2': 'sha384', '2.16.840.1.101.3.4.2.3': 'sha512' };
const RSA_SIGNATURES: ReadonlySet<string> = new Set(['1.2.840.113549.1.1.1', '1.2.840.113549.1.1.11', '1.2.840.113549.1.1.12', '1.2.840.113549.1.1.13']);

/**
 * Verifies a SignedData that holds its content, by a pinned certificate and no other: certificates inside the document
 * are not looked at. BER is taken besides DER, since that is what Amazon sends; what is signed is judged in DER.
 * Source: RFC 5652 §5.4, §5.6.
 */
export function verifyPkcs7(request: { readonly document: Buffer; readonly pinned: readonly X509Certificate[]; readonly nowMs: number }): Pkcs7Verdict {
  const { document, pinned, nowMs } = request;
  if (document.length > MAX_PKCS7_BYTES) return refuse('malformed', `it is larger than ${MAX_PKCS7_BYTES} bytes`);
  try {
    const { content, signer } = parse(document);
    const signedBytes = signedBy(signer, content);
    if (signedBytes === undefined) return refuse('bad-signature', 'its content is not the one that was signed');
    const found = pinned.find((cert) => cert.publicKey.asymmetricKeyType === 'rsa' && verify(signer.hash, signedBytes, cert.publicKey, signer.signature));
    if (found === undefined) return refuse('bad-signature', 'no pinned certificate signed it');
    const isOver = Date.parse(found.validTo) < nowMs || Date.parse(found.validFrom) > nowMs;
    return isOver ? refuse('expired', 'the pinned certificate that signed it is not valid now') : { ok: true, content, signer: found };
  } catch (error) {
    return refuse('malformed', `it is no signed document in PKCS#7: ${messageOf(error)}`);
  }
}

function refuse(reason: Extract<Pkcs7Verdict, { ok: false }>['reason'], detail: string): Pkcs7Verdict {
  return { ok: false, reason, detail };
}

type Signer = { readonly hash: string; readonly attributes: readonly Asn1[] | undefined; readonly signature: Buffer };

function parse(document: Buffer): { readonly content: Buffer; readonly signer: Signer } {
  const [type, holder] = childrenOf(fromBer(document));
  if (oidOf(type) !== SIGNED_DATA || !isContext(holder, 0)) throw new TypeError('not SignedData');
  const [, , encapsulated, ...rest] = childrenOf(childrenOf(holder)[0]);
  const [contentType, contentHolder] = childrenOf(encapsulated);
  if (oidOf(contentType) !== DATA || contentHolder === undefined) throw new TypeError('no content inside');
  const signers = rest.filter((item) => item.tagClass === forge.asn1.Class.UNIVERSAL).flatMap(childrenOf);
  const [signer] = signers;
  if (signers.length !== 1 || signer === undefined) throw new TypeError(`${signers.length} signers, one is taken`);
  return { content: octetsOf(childrenOf(contentHolder)[0]), signer: readSigner(signer) };
}

function readSigner(item: Asn1): Signer {
  const [, , digestAlgorithm, ...rest] = childrenOf(item);
  const hash = HASHES[oidOf(childrenOf(digestAlgorithm)[0])];
  if (hash === undefined) throw new TypeError('its hash is not of the SHA-2 family');
  const attributes = isContext(rest[0], 0) ? childrenOf(rest.shift()) : undefined;
  const [algorithm, signature] = rest;
  if (!RSA_SIGNATURES.has(oidOf(childrenOf(algorithm)[0]))) throw new TypeError('its signature is not RSA with PKCS#1 padding');
  return { hash, attributes, signature: octetsOf(signature) };
}

/** The bytes under the signature, or undefined where the attributes name another content (RFC 5652 §5.4). */
function signedBy({ hash, attributes }: Signer, content: Buffer): Buffer | undefined {
  if (attributes === undefined) return content;
  const valueOf = (type: string): Asn1 => {
    const found = attributes.filter((attribute) => oidOf(childrenOf(attribute)[0]) === type);
    const values = found.length === 1 ? childrenOf(childrenOf(found[0])[1]) : [];
    if (values.length !== 1 || values[0] === undefined) throw new TypeError(`signed attribute ${type} must stand once`);
    return values[0];
  };
  if (oidOf(valueOf(CONTENT_TYPE)) !== DATA) return undefined;
  const named = bytesOf(valueOf(MESSAGE_DIGEST));
  const digest = createHash(hash).update(content).digest();
  return named.length === digest.length && timingSafeEqual(named, digest) ? toDer(set(...attributes)) : undefined;
}

/** A string in one piece or, in BER, in several (X.690 §8.7.3). */
function octetsOf(item: Asn1 | undefined): Buffer {
  if (item === undefined || item.tagClass !== forge.asn1.Class.UNIVERSAL || item.type !== forge.asn1.Type.OCTETSTRING) throw new TypeError('expected octets');
  // forge takes the inside of a primitive string apart where that happens to be ASN.1; here only the bytes count.
  if (!item.constructed || !Array.isArray(item.value)) return bytesOf(item);
  return Buffer.concat(item.value.map(octetsOf));
}

/** One BER value and nothing after it. */
function fromBer(bytes: Buffer): Asn1 {
  const options = { strict: false, parseAllBytes: true, decodeBitStrings: false } as unknown as boolean;
  return forge.asn1.fromDer(forge.util.createBuffer(bytes.toString('latin1')), options);
}
