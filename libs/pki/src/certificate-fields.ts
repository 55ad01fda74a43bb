// What the rules of verification ask of a certificate, read strictly from its DER; the same reading for leaf, CA and root.
import { type KeyObject, X509Certificate } from 'node:crypto';
import { messageOf } from '@isthmus/model';
import { OID } from './oid.ts';
import { bitsOf, booleanOf, context, type Der, DerFault, expect, integerOf, itemsOf, oidTextOf, readDer, sequenceOf, TAG, timeOf } from './der-reader.ts';
import { weaknessOf, writesCurveOut } from './key.ts';
import { type GeneralName, generalNamesOf, type NameConstraints, nameConstraintsOf } from './name-constraints.ts';

/** Why a certificate cannot be read as one of ours, whatever its place in a chain. */
export type FieldRefusal = 'malformed' | 'critical-extension' | 'weak-key' | 'weak-signature';

/** Thrown by {@link readCertificate}; the verdict takes reason and text from it. */
export class CertificateFault extends TypeError {
  readonly reason: FieldRefusal;
  constructor(reason: FieldRefusal, message: string) {
    super(message);
    this.reason = reason;
  }
}

export type CertificateFields = {
  readonly cert: X509Certificate;
  readonly publicKey: KeyObject;
  readonly serial: Buffer;
  /** Subject and issuer as they are encoded: compared octet by octet (RFC 5280 §7.1 lets names be written alike). */
  readonly subject: Der;
  readonly issuer: Der;
  readonly isSubjectEmpty: boolean;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly basicConstraints: { readonly isCa: boolean; readonly pathLength: number | undefined } | undefined;
  readonly keyUsage: { readonly bits: number; readonly isCritical: boolean } | undefined;
  readonly extKeyUsages: readonly string[] | undefined;
  readonly altNames: { readonly names: readonly GeneralName[]; readonly isCritical: boolean } | undefined;
  readonly nameConstraints: NameConstraints | undefined;
  readonly subjectKeyId: Buffer | undefined;
  readonly authorityKeyId: AuthorityKeyId | undefined;
};
/** Which key, and which certificate, its issuer says it signed with (RFC 5280 §4.2.1.1). */
type AuthorityKeyId = { readonly keyId: Buffer | undefined; readonly serial: Buffer | undefined };

/** SHA-1 and MD5 are broken, the rest is not ours. */
const SIGNATURES: ReadonlySet<string> = new Set([
  OID.ecdsaSha256, '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4',
  OID.rsaSha256, '1.2.840.113549.1.1.12', '1.2.840.113549.1.1.13',
  OID.ed25519,
]);
const MAX_SERIAL_OCTETS = 20;
/** Larger certificates are refused unread (reliability 46). */
export const MAX_CERTIFICATE_BYTES = 16 * 1024;

/**
 * Reads one certificate of version 3. Refused, beside what is not DER: critical extensions not understood here, an
 * extension twice, serial numbers that are not positive or too long, signatures and keys that are weak or of other
 * kinds than ours. `isRoot`: its own signature is not asked for, so its algorithm is not judged.
 * **Throws** CertificateFault. Source: RFC 5280 §4.1, §4.2.
 */
export function readCertificate(der: Buffer, isRoot = false): CertificateFields {
  try {
    return read(der, isRoot);
  } catch (error) {
    throw error instanceof CertificateFault ? error : new CertificateFault('malformed', error instanceof DerFault ? `it ${messageOf(error)}` : messageOf(error));
  }
}

function read(der: Buffer, isRoot: boolean): CertificateFields {
  const [tbs, algorithm, signature, ...more] = sequenceOf(readDer(der));
  bitsOf(signature);
  const [version, serial, innerAlgorithm, issuer, validity, subject, spki, ...rest] = sequenceOf(tbs);
  if (more.length > 0 || issuer === undefined || subject === undefined || spki === undefined) throw new DerFault('is no certificate');
  if (version?.tag !== context(0, true) || integerOf(itemsOf(version)[0])[0] !== 2) throw new DerFault('is not of version 3');
  checkSerial(integerOf(serial));
  if (algorithm === undefined || !expect(innerAlgorithm, TAG.sequence).whole.equals(algorithm.whole)) throw new DerFault('names two signature algorithms');
  const signatureOid = oidTextOf(sequenceOf(algorithm)[0]);
  if (!isRoot && !SIGNATURES.has(signatureOid)) throw new CertificateFault('weak-signature', `its signature algorithm ${signatureOid} is not used here`);
  const [notBefore, notAfter, ...moreTimes] = sequenceOf(validity);
  if (moreTimes.length > 0) throw new DerFault('has a third time');
  const cert = new X509Certificate(der);
  const { publicKey } = cert;
  const weakness = writesCurveOut(spki.whole) ? 'its EC key does not name its curve' : weaknessOf(publicKey);
  if (weakness !== undefined) throw new CertificateFault('weak-key', weakness);
  return {
    cert,
    publicKey,
    serial: integerOf(serial),
    subject: expect(subject, TAG.sequence),
    issuer: expect(issuer, TAG.sequence),
    isSubjectEmpty: subject.value.byteLength === 0,
    notBeforeMs: timeOf(notBefore),
    notAfterMs: timeOf(notAfter),
    ...readExtensions(rest),
  };
}

function checkSerial(serial: Buffer): void {
  const isPositive = ((serial[0] ?? 0x80) & 0x80) === 0 && serial.some((octet) => octet !== 0);
  if (!isPositive) throw new DerFault('has a serial number that is not positive');
  if (serial.byteLength > MAX_SERIAL_OCTETS) throw new DerFault('has a serial number of more than 20 octets');
}

type Extensions = Pick<CertificateFields, 'basicConstraints' | 'keyUsage' | 'extKeyUsages' | 'altNames' | 'nameConstraints' | 'subjectKeyId' | 'authorityKeyId'>;

/** The last field of the to-be-signed part; unique identifiers before it are of version 2 and not used here. */
function readExtensions(rest: readonly Der[]): Extensions {
  const [holder, ...more] = rest;
  if (more.length > 0 || holder?.tag !== context(3, true)) throw new DerFault('has no extensions, or something beside them');
  const found: { -readonly [K in keyof Extensions]: Extensions[K] } = {
    basicConstraints: undefined,
    keyUsage: undefined,
    extKeyUsages: undefined,
    altNames: undefined,
    nameConstraints: undefined,
    subjectKeyId: undefined,
    authorityKeyId: undefined,
  };
  const seen = new Set<string>();
  const [list, ...others] = itemsOf(holder);
  if (others.length > 0) throw new DerFault('has two lists of extensions');
  for (const extension of sequenceOf(list)) {
    const parts = sequenceOf(extension);
    const type = oidTextOf(parts[0]);
    if (seen.has(type)) throw new DerFault(`has extension ${type} twice`);
    seen.add(type);
    if (parts.length > 3 || parts.length < 2) throw new DerFault('has an extension of a wrong shape');
    const isCritical = parts.length === 3 && booleanOf(parts[1]);
    if (parts.length === 3 && !isCritical) throw new DerFault('writes out a default');
    const { value } = expect(parts.at(-1), TAG.octetString);
    switch (type) {
      case OID.basicConstraints:
        found.basicConstraints = basicConstraintsOf(readDer(value));
        break;
      case OID.keyUsage:
        found.keyUsage = { bits: bitsOf(readDer(value)).bytes[0] ?? 0, isCritical };
        break;
      case OID.extKeyUsage:
        found.extKeyUsages = sequenceOf(readDer(value)).map(oidTextOf);
        break;
      case OID.subjectAltName:
        found.altNames = { names: generalNamesOf(readDer(value)), isCritical };
        break;
      case OID.nameConstraints:
        found.nameConstraints = nameConstraintsOf(readDer(value));
        break;
      case OID.subjectKeyId:
        found.subjectKeyId = expect(readDer(value), TAG.octetString).value;
        break;
      case OID.authorityKeyId:
        found.authorityKeyId = authorityKeyIdOf(readDer(value));
        break;
      default:
        if (isCritical) throw new CertificateFault('critical-extension', `critical extension ${type} is not understood`);
    }
  }
  return found;
}

function basicConstraintsOf(value: Der): { readonly isCa: boolean; readonly pathLength: number | undefined } {
  const items = sequenceOf(value);
  const isCa = items[0]?.tag === TAG.boolean && booleanOf(items[0]);
  if (items[0]?.tag === TAG.boolean && !isCa) throw new DerFault('writes out a default');
  const [length, ...more] = isCa ? items.slice(1) : items;
  if (more.length > 0 || (length !== undefined && !isCa)) throw new DerFault('has basic constraints of a wrong shape');
  if (length === undefined) return { isCa, pathLength: undefined };
  const octets = integerOf(length);
  if (((octets[0] ?? 0) & 0x80) !== 0) throw new DerFault('has a negative path length');
  return { isCa, pathLength: octets.byteLength > 4 ? Infinity : octets.readUIntBE(0, octets.byteLength) };
}

function authorityKeyIdOf(value: Der): AuthorityKeyId {
  const items = sequenceOf(value);
  return { keyId: items.find((item) => item.tag === context(0))?.value, serial: items.find((item) => item.tag === context(2))?.value };
}
