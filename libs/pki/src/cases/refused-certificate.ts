// Chains refused for one certificate of theirs: its names, usages, keys, signature, numbers, extensions and encoding.
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { derExtension, derGeneralized, derInt, derName, derOid, derSeq, derText, derUtc, dnsName, ext, signatureAlgorithmOf, tlv, uriName } from '../odd-certificate.ts';
import { OID } from '../oid.ts';
import type { VerifyRefusal } from '../path.ts';
import { type ChainCase, flawed, leafNamed, TRUST_DOMAIN, WORKLOAD } from './chain.ts';

const no = (want: VerifyRefusal, kind: string, rule: string, make: ChainCase['make']): ChainCase => ({ kind, rule, want, make });
const unnamed = (kind: string, rule: string, ...names: readonly string[]): ChainCase => no('not-an-svid', kind, rule, leafNamed(...names.map(uriName)));
const garbled = (kind: string, rule: string, ...names: readonly Buffer[]): ChainCase => no('malformed', kind, rule, leafNamed(uriName(WORKLOAD), ...names));
const leaf = (want: VerifyRefusal, kind: string, rule: string, flaw: Parameters<typeof flawed>[1]): ChainCase => no(want, kind, rule, flawed('leaf', flaw));
const rawExtension = (type: string, ...rest: readonly Buffer[]): Buffer => derSeq(derOid(type), ...rest);

const odd = {
  rsa1024: (): KeyObject => generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey,
  rsaExponent3: (): KeyObject => generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }).privateKey,
  rsaPss: (): KeyObject => generateKeyPairSync('rsa-pss', { modulusLength: 2_048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' }).publicKey,
  p224: (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).privateKey,
  secp256k1: (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
  p521: (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey,
  brainpool: (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }).privateKey,
  explicitCurve: (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).privateKey,
  ed448: (): KeyObject => generateKeyPairSync('ed448').publicKey,
  x25519: (): KeyObject => generateKeyPairSync('x25519').publicKey,
};

/** A private key's point written on a curve it is not on: the last octet is another. */
function offCurve(): Buffer {
  const spki = createPublicKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey).export({ type: 'spki', format: 'der' });
  spki[spki.length - 1] = (spki.at(-1) ?? 0) ^ 1;
  return spki;
}

export const REFUSED_NAMES: readonly ChainCase[] = [
  unnamed('two SPIFFE IDs', 'X509-SVID §2', WORKLOAD, `spiffe://${TRUST_DOMAIN}/other`),
  unnamed('the same SPIFFE ID twice', 'X509-SVID §2', WORKLOAD, WORKLOAD),
  unnamed('a SPIFFE ID and another URI', 'X509-SVID §2', WORKLOAD, 'https://acme.example'),
  no('not-an-svid', 'no SAN at all', 'X509-SVID §2', flawed('leaf', { ext: { altNames: null } })),
  no('not-an-svid', 'a DNS name alone', 'X509-SVID §2', leafNamed(dnsName('payments.shop.svc'))),
  no('not-an-svid', 'a SPIFFE ID written as a DNS name', 'X509-SVID §2', leafNamed(dnsName(WORKLOAD))),
  no('not-an-svid', 'a SPIFFE ID as common name', 'X509-SVID §2', flawed('leaf', { subject: derName(WORKLOAD), ext: { altNames: null } })),
  unnamed('no path', 'X509-SVID §3.1', `spiffe://${TRUST_DOMAIN}`),
  unnamed('a path that is a slash', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/`),
  unnamed('scheme https', 'SPIFFE-ID §2', `https://${TRUST_DOMAIN}/x`),
  unnamed('scheme in capitals', 'SPIFFE-ID §2', `SPIFFE://${TRUST_DOMAIN}/x`),
  unnamed('no scheme', 'SPIFFE-ID §2', `${TRUST_DOMAIN}/x`),
  unnamed('no trust domain', 'SPIFFE-ID §2', 'spiffe:///x'),
  unnamed('a trust domain in capitals', 'SPIFFE-ID §2.1', 'spiffe://EAST.acme.example/x'),
  unnamed('a port', 'SPIFFE-ID §2.1', `spiffe://${TRUST_DOMAIN}:443/x`),
  unnamed('a port left out behind its colon', 'SPIFFE-ID §2.1', `spiffe://${TRUST_DOMAIN}:/x`),
  unnamed('a user', 'SPIFFE-ID §2.1', `spiffe://me@${TRUST_DOMAIN}/x`),
  unnamed('a query', 'SPIFFE-ID §2', `spiffe://${TRUST_DOMAIN}/x?y`),
  unnamed('a fragment', 'SPIFFE-ID §2', `spiffe://${TRUST_DOMAIN}/x#y`),
  unnamed('percent-encoding in the path', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/%61`),
  unnamed('percent-encoding in the trust domain', 'SPIFFE-ID §2.1', 'spiffe://%65ast.acme.example/x'),
  unnamed('an empty segment', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/a//b`),
  unnamed('a segment of one dot', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/a/./b`),
  unnamed('a segment of two dots', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/a/../b`),
  unnamed('a slash at the end', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/a/`),
  unnamed('a character no path has', 'SPIFFE-ID §2.2', `spiffe://${TRUST_DOMAIN}/a:b`),
  unnamed('2049 bytes', 'SPIFFE-ID §2.3', WORKLOAD.padEnd(2_049, 'x')),
  unnamed('a trust domain of 256 bytes', 'SPIFFE-ID §2.3', `spiffe://${'a'.repeat(256)}/x`),
  no('malformed', 'CR and LF in the SPIFFE ID', 'reliability 46', leafNamed(uriName(`${WORKLOAD}\r\nx-admin: yes`))),
  no('malformed', 'NUL in the SPIFFE ID', 'reliability 46', leafNamed(uriName(`${WORKLOAD}\0.evil`))),
  no('malformed', 'a space in the SPIFFE ID', 'SPIFFE-ID §2.2', leafNamed(uriName(`${WORKLOAD} x`))),
  no('malformed', 'a letter beyond ASCII in the SPIFFE ID', 'RFC 5280 §4.2.1.6', leafNamed(uriName(`spiffe://${TRUST_DOMAIN}/\u00e9`))),
  garbled('CR and LF in a DNS name', 'reliability 46', dnsName('a\r\nx-admin: yes')),
  garbled('NUL in a DNS name', 'CVE-2009-2408', dnsName('payments.shop.svc\0.evil.example')),
  garbled('an empty DNS name', 'RFC 5280 §4.2.1.6', dnsName('')),
  garbled('an address of three octets', 'RFC 5280 §4.2.1.6', tlv(0x87, Buffer.from([10, 0, 0]))),
  garbled('three hundred DNS names', 'reliability 46', ...Array.from({ length: 300 }, (_, i) => dnsName(`h${i}.example`))),
  no('too-large', 'ten thousand DNS names', 'reliability 46', leafNamed(uriName(WORKLOAD), ...Array.from({ length: 10_000 }, (_, i) => dnsName(`h${i}`)))),
  no('malformed', 'a SAN without names', 'RFC 5280 §4.2.1.6', leafNamed()),
  leaf('not-an-svid', 'no subject, and names that are not critical', 'X509-SVID §3.1', { subject: derName('') }),
];

export const REFUSED_CERTIFICATES: readonly ChainCase[] = [
  leaf('leaf-is-ca', 'a leaf that is a CA', 'X509-SVID §4.1', { ext: { basicConstraints: ext.basicConstraints(true) } }),
  leaf('leaf-is-ca', 'a leaf that is a CA and may sign', 'X509-SVID §5.2', { ext: { basicConstraints: ext.basicConstraints(true), keyUsage: ext.keyUsage(0x84) } }),
  no('leaf-is-ca', 'a CA that stands as a leaf', 'X509-SVID §3.2', (p) => {
    const root = p.root();
    return { chain: [p.ca(root).cert], roots: [root.cert] };
  }),
  leaf('key-usage', 'no key usage', 'X509-SVID §4.3', { ext: { keyUsage: null } }),
  leaf('key-usage', 'a key usage that is not critical', 'X509-SVID §4.3', { ext: { keyUsage: ext.keyUsage(0x80, false) } }),
  leaf('key-usage', 'no digital signature', 'X509-SVID §4.3', { ext: { keyUsage: ext.keyUsage(0x20) } }),
  leaf('key-usage', 'no usage at all', 'RFC 5280 §4.2.1.3', { ext: { keyUsage: ext.keyUsage(0) } }),
  leaf('key-usage', 'may sign certificates', 'X509-SVID §4.3', { ext: { keyUsage: ext.keyUsage(0x84) } }),
  leaf('key-usage', 'may sign CRLs', 'X509-SVID §4.3', { ext: { keyUsage: ext.keyUsage(0x82) } }),
  leaf('ext-key-usage', 'for servers alone', 'X509-SVID §4.4', { ext: { extKeyUsage: ext.extKeyUsage([OID.serverAuth]) } }),
  leaf('ext-key-usage', 'for clients alone', 'X509-SVID §4.4', { ext: { extKeyUsage: ext.extKeyUsage([OID.clientAuth]) } }),
  leaf('ext-key-usage', 'for any use, not named', 'X509-SVID §4.4', { ext: { extKeyUsage: ext.extKeyUsage(['2.5.29.37.0']) } }),
  leaf('ext-key-usage', 'for signing code', 'X509-SVID §4.4', { ext: { extKeyUsage: ext.extKeyUsage(['1.3.6.1.5.5.7.3.3']) } }),
  leaf('ext-key-usage', 'for no use', 'RFC 5280 §4.2.1.12', { ext: { extKeyUsage: ext.extKeyUsage([]) } }),

  leaf('bad-signature', 'a bit of the signature flipped', 'RFC 5280 §6.1.3 a 1', { alterSignature: (signature) => flipped(signature, -4) }),
  leaf('bad-signature', 'half a signature', 'RFC 5280 §6.1.3 a 1', { alterSignature: (signature) => signature.subarray(0, signature.length / 2) }),
  leaf('bad-signature', 'no signature', 'RFC 5280 §6.1.3 a 1', { alterSignature: () => Buffer.alloc(0) }),
  leaf('bad-signature', 'a signature of zeros', 'CVE-2022-21449', { alterSignature: () => derSeq(derInt(0), derInt(0)) }),
  leaf('bad-signature', 'a name changed after signing', 'RFC 5280 §6.1.3 a 1', { alterWhole: (der) => replaced(der, 'payments', 'billings') }),
  no('bad-signature', 'a bit of the intermediate’s signature flipped', 'RFC 5280 §6.1.3 a 1', flawed('ca', { alterSignature: (signature) => flipped(signature, -4) })),
  leaf('malformed', 'two signature algorithms', 'RFC 5280 §4.1.1.2', (p) => ({
    innerAlgorithm: p.keys.ca.asymmetricKeyType === 'ed25519' ? derSeq(derOid('1.3.101.113')) : signatureAlgorithmOf(p.keys.ca, 'sha384'),
  })),
  no('weak-signature', 'signed with SHA-1 by an EC key', 'RFC 9155 §2', (p) => {
    const root = p.root();
    const ca = p.ca(root, { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey });
    return { chain: [p.leaf(ca, { hash: 'sha1' }), ca.cert], roots: [root.cert] };
  }),
  no('weak-signature', 'signed with SHA-1 by an RSA key', 'RFC 9155 §2', (p) => {
    const key = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
    const root = p.root({ key });
    const ca = p.ca(root, { hash: 'sha1' });
    return { chain: [p.leaf(ca), ca.cert], roots: [root.cert] };
  }),
  leaf('weak-key', 'RSA of 1024 bits', 'NIST SP 800-131A', () => ({ key: odd.rsa1024() })),
  leaf('weak-key', 'RSA with exponent 3', 'FIPS 186-5 §A.1.1', () => ({ key: odd.rsaExponent3() })),
  leaf('weak-key', 'RSA for PSS alone', 'RFC 4055 §1.2', () => ({ key: odd.rsaPss() })),
  leaf('weak-key', 'EC P-224', 'NIST SP 800-186', () => ({ key: odd.p224() })),
  leaf('weak-key', 'EC P-521', 'architecture: keys', () => ({ key: odd.p521() })),
  leaf('weak-key', 'EC secp256k1', 'NIST SP 800-186', () => ({ key: odd.secp256k1() })),
  leaf('weak-key', 'EC brainpoolP256r1', 'NIST SP 800-186', () => ({ key: odd.brainpool() })),
  leaf('weak-key', 'EC with its curve written out', 'CVE-2020-0601', () => ({ key: odd.explicitCurve() })),
  leaf('malformed', 'an EC point that is on no curve', 'RFC 5480 §2.2', () => ({ spki: offCurve() })),
  leaf('weak-key', 'Ed448', 'architecture: keys', () => ({ key: odd.ed448() })),
  leaf('weak-key', 'X25519, which signs nothing', 'RFC 8410 §5', () => ({ key: odd.x25519() })),
  no('weak-key', 'an intermediate with RSA of 1024 bits', 'NIST SP 800-131A', flawed('ca', () => ({ key: odd.rsa1024() }))),
  no('weak-key', 'an intermediate with EC P-224', 'NIST SP 800-186', flawed('ca', () => ({ key: odd.p224() }))),
  no('weak-key', 'an intermediate with EC secp256k1', 'NIST SP 800-186', flawed('ca', () => ({ key: odd.secp256k1() }))),
  no('untrusted', 'a root with RSA of 1024 bits', 'NIST SP 800-131A', flawed('root', () => ({ key: odd.rsa1024() }))),

  leaf('malformed', 'a version 1 leaf', 'RFC 5280 §4.1.2.1', { version: undefined, ext: { basicConstraints: null, keyUsage: null, extKeyUsage: null, altNames: null, subjectKeyId: null, authorityKeyId: null } }),
  leaf('malformed', 'extensions in version 1', 'RFC 5280 §4.1.2.1', { version: undefined }),
  leaf('malformed', 'extensions in version 2', 'RFC 5280 §4.1.2.1', { version: 1 }),
  leaf('malformed', 'version 4', 'RFC 5280 §4.1.2.1', { version: 3 }),
  leaf('malformed', 'version 1 written out', 'X.690 §11.5', { version: 0 }),
  leaf('malformed', 'serial number 0', 'RFC 5280 §4.1.2.2', { serial: derInt(0) }),
  leaf('malformed', 'a negative serial number', 'RFC 5280 §4.1.2.2', { serial: derInt(0xff) }),
  leaf('malformed', 'a serial number of 21 octets', 'RFC 5280 §4.1.2.2', { serial: derInt(0x7f, ...Array.from({ length: 20 }, () => 1)) }),
  leaf('malformed', 'a serial number with a zero in front', 'X.690 §8.3.2', { serial: derInt(0, 1) }),
  leaf('malformed', 'an empty serial number', 'X.690 §8.3.1', { serial: derInt() }),
  leaf('malformed', 'unique identifiers', 'RFC 5280 §4.1.2.8', { uniqueIds: tlv(0x82, Buffer.from([0, 1])) }),

  leaf('malformed', 'an extension twice', 'RFC 5280 §4.2', { more: [ext.extKeyUsage([OID.serverAuth, OID.clientAuth])] }),
  leaf('malformed', 'two SAN extensions', 'RFC 5280 §4.2', { more: [ext.altNames([uriName(`spiffe://${TRUST_DOMAIN}/admin`)])] }),
  leaf('critical-extension', 'a critical extension nobody knows', 'RFC 5280 §4.2', { more: [derExtension('1.2.3.4', true, derOid('1.2.3'))] }),
  no('critical-extension', 'a critical extension nobody knows in the intermediate', 'RFC 5280 §6.1.4 o', flawed('ca', { more: [derExtension('1.2.3.4', true, derOid('1.2.3'))] })),
  leaf('malformed', '“not critical” written out', 'X.690 §11.5', { more: [rawExtension('1.2.3.4', Buffer.from([1, 1, 0]), tlv(4, derInt(1)))] }),
  leaf('malformed', 'a critical flag that is neither', 'X.690 §11.1', { ext: { keyUsage: rawExtension(OID.keyUsage, Buffer.from([1, 1, 1]), tlv(4, tlv(3, Buffer.from([7, 0x80])))) } }),
  leaf('malformed', '“no CA” written out', 'X.690 §11.5', { ext: { basicConstraints: derExtension(OID.basicConstraints, true, derSeq(Buffer.from([1, 1, 0]))) } }),
  leaf('malformed', 'bytes behind an extension’s value', 'X.690 §10', { ext: { extKeyUsage: derExtension(OID.extKeyUsage, false, Buffer.concat([derSeq(derOid(OID.serverAuth), derOid(OID.clientAuth)), Buffer.from([5, 0])])) } }),
  leaf('malformed', 'bytes behind the names', 'X.690 §10', { ext: { altNames: derExtension(OID.subjectAltName, false, Buffer.concat([derSeq(uriName(WORKLOAD)), derSeq(uriName('spiffe://east.acme.example/admin'))])) } }),
  leaf('malformed', 'an extension without value', 'RFC 5280 §4.2', { more: [rawExtension('1.2.3.4')] }),

  leaf('malformed', 'bytes behind the certificate', 'X.690 §10', { alterWhole: (der) => Buffer.concat([der, Buffer.from([5, 0])]) }),
  leaf('malformed', 'a fourth part of the certificate', 'RFC 5280 §4.1', { alterWhole: (der) => derSeq(der.subarray(4), Buffer.from([5, 0])) }),
  leaf('malformed', 'a length in a longer form outside', 'X.690 §10.1', { alterWhole: (der) => Buffer.concat([Buffer.from([0x30, 0x83, 0]), der.subarray(2)]) }),
  leaf('malformed', 'a length in a longer form in what is signed', 'X.690 §10.1', { alterTbs: (tbs) => Buffer.concat([Buffer.from([0x30, 0x83, 0]), tbs.subarray(2)]) }),
  leaf('malformed', 'an indefinite length', 'X.690 §10.1', { alterWhole: (der) => Buffer.concat([Buffer.from([0x30, 0x80]), der.subarray(4), Buffer.from([0, 0])]) }),
  leaf('malformed', 'cut off', 'X.690 §8.1', { alterWhole: (der) => der.subarray(0, -20) }),
  leaf('too-large', 'twenty thousand bytes', 'reliability 46', { more: [derExtension('1.2.3.4', false, tlv(4, Buffer.alloc(20_000)))] }),
  leaf('malformed', 'a subject that is no name', 'RFC 5280 §4.1.2.6', { subject: derText(0x0c, 'workload') }),

  leaf('malformed', 'UTC time with an offset', 'RFC 5280 §4.1.2.5.1', { notAfter: derText(0x17, '490101000000+0000') }),
  leaf('malformed', 'UTC time without seconds', 'RFC 5280 §4.1.2.5.1', { notAfter: derText(0x17, '4901010000Z') }),
  leaf('malformed', 'a fraction of a second', 'RFC 5280 §4.1.2.5.2', { notAfter: derText(0x18, '20510101000000.5Z') }),
  leaf('malformed', 'a thirteenth month', 'RFC 5280 §4.1.2.5', { notAfter: derText(0x17, '491301000000Z') }),
  leaf('malformed', 'the thirtieth of February', 'RFC 5280 §4.1.2.5', { notAfter: derText(0x17, '490230000000Z') }),
  leaf('malformed', 'a time of letters', 'RFC 5280 §4.1.2.5', { notAfter: derText(0x17, 'never') }),
  leaf('malformed', 'a time of another type', 'RFC 5280 §4.1.2.5', { notAfter: derText(0x0c, '20510101000000Z') }),
  leaf('malformed', 'generalized time without Z', 'RFC 5280 §4.1.2.5.2', { notAfter: derText(0x18, '20510101000000') }),
  leaf('expired', 'a year of two digits that is past', 'RFC 5280 §4.1.2.5.1', { notBefore: derUtc(Date.UTC(1970, 0, 1)), notAfter: derText(0x17, '990101000000Z') }),
  leaf('expired', 'generalized time that is past', 'RFC 5280 §4.1.2.5.2', { notAfter: derGeneralized(Date.UTC(2020, 0, 1)) }),
];

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[changed.length + at] = (changed.at(at) ?? 0) ^ 1;
  return changed;
}

function replaced(der: Buffer, before: string, after: string): Buffer {
  const changed = Buffer.from(der);
  changed.write(after, changed.indexOf(before), 'latin1');
  return changed;
}
