// Private keys: made, exported and read back; and which public keys are strong enough to be certified.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { messageOf } from '@isthmus/model';
import { oidTextOf, readDer, sequenceOf, TAG } from './der-reader.ts';
import { fail } from './errors.ts';

export type KeyKind = 'ec-p256' | 'ed25519' | 'rsa-2048' | 'rsa-3072';

/** Makes a private key; EC P-256 by default, as SPIRE and Consul do (facts 2). */
export function generateKey(kind: KeyKind = 'ec-p256'): KeyObject {
  switch (kind) {
    case 'ec-p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'rsa-2048':
      return generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
    case 'rsa-3072':
      return generateKeyPairSync('rsa', { modulusLength: 3_072 }).privateKey;
  }
}

/** PKCS#8 PEM. */
export function exportKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** **Throws** PKI_KEY_INVALID. */
export function importKeyPem(pem: string | Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw fail('PKI_KEY_INVALID', `not a private key in PEM: ${messageOf(error)}`);
  }
}

/** Why a public key may not be certified, or undefined: EC P-256 and P-384, Ed25519, RSA of 2048 to 4096 bits with a usual exponent are good. */
export function weaknessOf(key: KeyObject): string | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return undefined;
    case 'ec': {
      const curve = details?.namedCurve ?? '';
      return curve === 'prime256v1' || curve === 'secp384r1' ? undefined : `EC curve ${curve} is not P-256 or P-384`;
    }
    case 'rsa': {
      const bits = details?.modulusLength ?? 0;
      if (bits < 2_048) return `RSA key of ${bits} bits is weaker than 2048`;
      if (bits > 4_096) return `RSA key of ${bits} bits is larger than 4096`;
      const exponent = details?.publicExponent ?? 0n;
      // Small ones are fragile, even ones no key at all, and large ones cost whoever verifies (CVE-2023-3446 and its kind).
      return exponent < 65_537n || exponent > 0xffff_ffffn || exponent % 2n === 0n ? 'RSA key whose exponent is not an odd number from 65537 to 2^32' : undefined;
    }
    default:
      return `keys of type ${key.asymmetricKeyType ?? 'unknown'} are not used`;
  }
}

/**
 * Whether an EC key in SubjectPublicKeyInfo writes its curve out instead of naming it: OpenSSL then takes whatever
 * generator stands there (CVE-2020-0601; RFC 5480 §2.1.1 forbids it). False for keys of other kinds. **Throws** DerFault.
 */
export function writesCurveOut(spki: Buffer): boolean {
  const [kind, parameters] = sequenceOf(sequenceOf(readDer(spki))[0]);
  return oidTextOf(kind) === EC_PUBLIC_KEY && parameters?.tag !== TAG.oid;
}
const EC_PUBLIC_KEY = '1.2.840.10045.2.1';

/** The public half of a private key. */
export function createPublicKeyOf(key: KeyObject): KeyObject {
  return createPublicKey(key);
}
