// A key that signs, wherever it is: in this process, in a token, or behind another program.
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { Draft } from './der.ts';
import { fail } from './errors.ts';

/** The public half, and signatures by the other. Asynchronous, since a token or a service may take its time. */
export interface Signer {
  readonly publicKey: KeyObject;
  /** ECDSA in DER or RSA PKCS#1 v1.5, each over SHA-256; Ed25519 as it is (RFC 5758 §3.2, RFC 4055 §5, RFC 8410 §6). **Throws** what its owner documents. */
  sign(bytes: Buffer): Promise<Buffer>;
}

/** A CA whose key may be elsewhere: its certificate in DER and who signs for it. */
export type SigningCa = { readonly cert: Buffer; readonly signer: Signer };

/** Signs as certificates are signed, with a key of this process. */
export function signBytes(key: KeyObject, bytes: Buffer): Buffer {
  return sign(hashOf(key), bytes, key);
}

/** Whether `signature` is one that `Signer.sign` makes. Never throws. */
export function verifyBytes(publicKey: KeyObject, bytes: Buffer, signature: Buffer): boolean {
  try {
    return verify(hashOf(publicKey), bytes, publicKey, signature);
  } catch {
    return false;
  }
}

/** A private key of this process as a signer. */
export function keySigner(key: KeyObject): Signer {
  return { publicKey: createPublicKey(key), sign: async (bytes) => signBytes(key, bytes) };
}

/**
 * Has a draft signed. What a key elsewhere answers is checked before it is used: a certificate that nobody takes must
 * not be recorded as issued. **Throws** PKI_SIGNER_WRONG, and what `sign` throws.
 */
export async function signDraft({ bytes, finish }: Draft, signer: Signer): Promise<Buffer> {
  const signature = await signer.sign(bytes);
  if (!verifyBytes(signer.publicKey, bytes, signature)) throw fail('PKI_SIGNER_WRONG', 'the signature that was answered is not one of the key it was asked of');
  return finish(signature);
}

function hashOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
}
