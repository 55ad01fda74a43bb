// Fuzz target: a certificate is read by every rule or refused as one that is not; nothing else is ever thrown.
import { createPrivateKey } from 'node:crypto';
import { CertificateFault, type CertificateFields, readCertificate } from './certificate-fields.ts';
import { OID } from './oid.ts';
import { firstForbidden } from './name-constraints.ts';
import { derName, derText, dnsName, ext, makeOddCertificate, tlv, uriName } from './odd-certificate.ts';

/** Keys and signatures of Ed25519 are the same in every run. */
const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 5)]), format: 'der', type: 'pkcs8' });
const seed = (...extensions: readonly Buffer[]): Buffer =>
  makeOddCertificate({ key, signer: key, issuer: derName('a'), subject: derName('b'), notBefore: derText(0x17, '260101000000Z'), notAfter: derText(0x18, '20510101000000Z'), extensions });
const names = [uriName('spiffe://east.acme.example/x'), dnsName('a.b'), tlv(0x87, Buffer.from([10, 0, 0, 1]))];

export const target = {
  name: 'certificate',
  seeds: [
    seed(ext.basicConstraints(false), ext.keyUsage(0x80), ext.extKeyUsage([OID.serverAuth, OID.clientAuth]), ext.altNames(names), ext.subjectKeyId(Buffer.alloc(4)), ext.authorityKeyId(Buffer.alloc(4))),
    seed(ext.basicConstraints(true, 1), ext.keyUsage(0x06), ext.nameConstraints({ permitted: [uriName('.acme.example'), dnsName('b')], excluded: [tlv(0x87, Buffer.from([10, 0, 0, 0, 255, 0, 0, 0]))] })),
  ],
  dictionary: [Buffer.from('0603551d11', 'hex'), Buffer.from('0603551d1e', 'hex'), Buffer.from('0101ff', 'hex'), Buffer.from([0x30, 0x80]), Buffer.from([0x86, 0]), Buffer.from([0xa0, 3]), 'spiffe://', '\r\n', '\0'],
  maxBytes: 2_048,
  run(input: Buffer): void {
    let fields: CertificateFields;
    try {
      fields = readCertificate(input);
    } catch (error) {
      if (!(error instanceof CertificateFault)) throw error;
      return;
    }
    const found = fields.altNames?.names ?? [];
    if (found.some((name) => !/^[\x21-\x7e]*$/.test(name.text))) throw new Error('a name with control characters was taken');
    if (!Number.isFinite(fields.notAfterMs) || !Number.isFinite(fields.notBeforeMs)) throw new Error('a validity that is no time was taken');
    if (fields.nameConstraints !== undefined) firstForbidden(fields.nameConstraints, found);
  },
};
