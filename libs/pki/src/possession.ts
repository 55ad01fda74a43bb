// Proof of possession: a signature over a challenge and what it is given for, by the key of a certificate.
import { constants, type KeyObject, sign, verify } from 'node:crypto';

const CONTEXT = 'isthmus proof of possession v1\n';

/** What is proven: that the key's holder answers this challenge, to this trust domain, for this signing request. */
export type Possession = { readonly trustDomain: string; readonly nonce: Uint8Array; readonly csrSha256: Uint8Array };

/** Signs; RSA with PSS, so that no signature of another protocol can be passed off as one. */
export function signPossession(key: KeyObject, possession: Possession): Buffer {
  return sign(hashFor(key), messageFor(possession), { key, ...paddingFor(key) });
}

/** Whether the key's holder signed exactly this. */
export function verifyPossession(publicKey: KeyObject, possession: Possession, signature: Uint8Array): boolean {
  try {
    return verify(hashFor(publicKey), messageFor(possession), { key: publicKey, ...paddingFor(publicKey) }, signature);
  } catch {
    return false;
  }
}

function messageFor({ trustDomain, nonce, csrSha256 }: Possession): Buffer {
  return Buffer.concat([Buffer.from(`${CONTEXT}${trustDomain}\n${nonce.length} ${csrSha256.length}\n`), nonce, csrSha256]);
}

function hashFor(key: KeyObject): string | null {
  return key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
}

function paddingFor(key: KeyObject): { readonly padding?: number; readonly saltLength?: number } {
  return key.asymmetricKeyType === 'rsa' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {};
}
