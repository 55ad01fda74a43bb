// For tests: a small PKI of every key kind, whose certificates can each be made with a flaw; and the form of a case.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { derInt, derName, derUtc, type OddCertificate, dnsName, ext, keyIdOf, makeOddCertificate, tlv, uriName } from '../odd-certificate.ts';
import { OID } from '../oid.ts';
import type { VerifyRefusal } from '../path.ts';

/** A chain, the roots it is held against, and what becomes of it. */
export type ChainCase = {
  /** Unique, in plain words. */
  readonly kind: string;
  /** The rule it shows, by document and section. */
  readonly rule: string;
  readonly want: 'ok' | VerifyRefusal;
  readonly make: (pki: Pki) => { readonly chain: readonly Buffer[]; readonly roots: readonly Buffer[] };
};

/** Which keys the certificates of a case have. */
export const VARIANTS = ['p256', 'p384', 'ed25519', 'rsa'] as const;
export type Variant = (typeof VARIANTS)[number];

export const TRUST_DOMAIN = 'east.acme.example';
export const WORKLOAD = `spiffe://${TRUST_DOMAIN}/ns/shop/svc/payments`;
export const BOTH_SIDES: readonly string[] = [OID.serverAuth, OID.clientAuth];
export const DAY_MS = 86_400_000;

type ExtensionName = 'basicConstraints' | 'keyUsage' | 'extKeyUsage' | 'altNames' | 'nameConstraints' | 'subjectKeyId' | 'authorityKeyId';
/** What differs from the usual: a field, an extension by name (null leaves it out), or further extensions. */
export type Flaw = Partial<Omit<OddCertificate, 'extensions'>> & { readonly ext?: Partial<Record<ExtensionName, Buffer | null>>; readonly more?: readonly Buffer[] };
type Authority = { readonly cert: Buffer; readonly key: KeyObject; readonly subject: Buffer };

export type Pki = {
  readonly nowMs: number;
  readonly keys: { readonly root: KeyObject; readonly ca: KeyObject; readonly ca2: KeyObject; readonly leaf: KeyObject; readonly other: KeyObject };
  /** A root of the federation. */
  root(flaw?: Flaw): Authority;
  /** An intermediate of the trust domain, under a root unless told otherwise. */
  ca(issuer?: Authority, flaw?: Flaw): Authority;
  leaf(issuer: Authority, flaw?: Flaw): Buffer;
  /** leaf ← intermediate ← root with a flaw in any of them; the root is not sent along. */
  three(flaws?: { readonly root?: Flaw; readonly ca?: Flaw; readonly leaf?: Flaw }): { readonly chain: readonly Buffer[]; readonly roots: readonly Buffer[] };
};

function keyOf(variant: Variant): KeyObject {
  switch (variant) {
    case 'p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'p384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
  }
}

/** Makes the keys of a variant, and what makes certificates with them as of that time. */
export function openPki(variant: Variant, nowMs: number): Pki {
  const keys = { root: keyOf(variant), ca: keyOf(variant), ca2: keyOf(variant), leaf: keyOf(variant), other: keyOf(variant) };
  let serial = 0;
  const make = (usual: Omit<OddCertificate, 'extensions' | 'notBefore' | 'notAfter'> & { readonly ext: Flaw['ext'] }, flaw: Flaw): Buffer => {
    const { ext: usualExtensions, ...fields } = usual;
    const { ext: flawed, more = [], ...over } = flaw;
    serial += 1;
    const extensions = Object.values({ ...usualExtensions, ...flawed }).filter((item) => item !== null && item !== undefined);
    return makeOddCertificate({
      notBefore: derUtc(nowMs - DAY_MS),
      notAfter: derUtc(nowMs + DAY_MS),
      serial: derInt(0x40, serial >> 8, serial & 255),
      ...fields,
      ...over,
      extensions: [...extensions, ...more],
    });
  };
  const pki: Pki = {
    nowMs,
    keys,
    root(flaw = {}) {
      const { key = keys.root, subject = derName('root') } = flaw;
      const usual = { basicConstraints: ext.basicConstraints(true), keyUsage: ext.keyUsage(0x06), altNames: ext.altNames([uriName('spiffe://acme.example')]), subjectKeyId: ext.subjectKeyId(keyIdOf(key)) };
      return { key, subject, cert: make({ key, subject, issuer: subject, signer: key, ext: usual }, flaw) };
    },
    ca(issuer = pki.root(), flaw = {}) {
      const { key = keys.ca, subject = derName('intermediate') } = flaw;
      const usual = {
        basicConstraints: ext.basicConstraints(true),
        keyUsage: ext.keyUsage(0x06),
        altNames: ext.altNames([uriName(`spiffe://${TRUST_DOMAIN}`)]),
        subjectKeyId: ext.subjectKeyId(keyIdOf(key)),
        authorityKeyId: ext.authorityKeyId(keyIdOf(issuer.key)),
      };
      return { key, subject, cert: make({ key, subject, issuer: issuer.subject, signer: issuer.key, ext: usual }, flaw) };
    },
    leaf(issuer, flaw = {}) {
      const { key = keys.leaf, subject = derName('workload') } = flaw;
      const usual = {
        basicConstraints: ext.basicConstraints(false),
        keyUsage: ext.keyUsage(0x80),
        extKeyUsage: ext.extKeyUsage(BOTH_SIDES),
        altNames: ext.altNames([uriName(WORKLOAD)]),
        subjectKeyId: ext.subjectKeyId(keyIdOf(key)),
        authorityKeyId: ext.authorityKeyId(keyIdOf(issuer.key)),
      };
      return make({ key, subject, issuer: issuer.subject, signer: issuer.key, ext: usual }, flaw);
    },
    three(flaws = {}) {
      const root = pki.root(flaws.root);
      const ca = pki.ca(root, flaws.ca);
      return { chain: [pki.leaf(ca, flaws.leaf), ca.cert], roots: [root.cert] };
    },
  };
  return pki;
}

/** The case whose only flaw is in one certificate. */
export function flawed(where: 'root' | 'ca' | 'leaf', flaw: Flaw | ((pki: Pki) => Flaw)): ChainCase['make'] {
  return (pki) => pki.three({ [where]: typeof flaw === 'function' ? flaw(pki) : flaw });
}

/** A leaf with these names in its one SAN extension. */
export function leafNamed(...names: readonly Buffer[]): ChainCase['make'] {
  return flawed('leaf', { ext: { altNames: ext.altNames(names) } });
}

/** An intermediate with these name constraints, and a leaf with these names beside its SPIFFE ID. */
export function constrained(lists: Parameters<typeof ext.nameConstraints>[0], names: readonly Buffer[] = [], leaf: Flaw = {}): ChainCase['make'] {
  return (pki) => pki.three({ ca: { ext: { nameConstraints: ext.nameConstraints(lists) } }, leaf: { ...leaf, ext: { altNames: ext.altNames([uriName(WORKLOAD), ...names], leaf.subject !== undefined) } } });
}

export const uriBase = uriName;
export const dnsBase = dnsName;
export const ipBase = (...octets: readonly number[]): Buffer => tlv(0x87, Buffer.from(octets));
