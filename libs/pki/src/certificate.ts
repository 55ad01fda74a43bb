// Making certificates: roots, name-constrained intermediates and SVIDs, each with exactly the fields its standard asks for.
import { createHash, createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { CLOCK_SKEW_MS } from './clock-skew.ts';
import { type Asn1, bits, bool, childrenOf, type Draft, draft, extension, fromDer, int, name, octets, oid, seq, sequenceDer, signatureAlgorithm, smallInt, spkiDer, tagged, time } from './der.ts';
import { OID } from './oid.ts';
import { bitsOf, readDer, sequenceOf } from './der-reader.ts';
import { fail } from './errors.ts';
import { signBytes } from './signer.ts';
import { svidSerial } from './svid-serial.ts';

/** A CA that signs: its certificate in DER and its key. For a draft the public half will do. */
export type Issuer = { readonly cert: Buffer; readonly key: KeyObject };

const KEY_USAGE_CA = bitString(0x06, 1);
const KEY_USAGE_LEAF = bitString(0x80, 7);

type RootRequest = { readonly key: KeyObject; readonly federation: TrustDomain; readonly nowMs: number; readonly ttlMs: number };

/** A self-signed root: SPIFFE ID of the federation's trust domain without a path, CA, keyCertSign and cRLSign. Source: X.509-SVID §3.2, §4. */
export function signRoot(request: RootRequest): Buffer {
  return finished(draftRoot(request), request.key);
}

/** The same, to be signed by who holds the key. */
export function draftRoot(request: RootRequest): Draft {
  const publicKey = request.key.type === 'public' ? request.key : createPublicKey(request.key);
  const subject = name({ organization: request.federation, commonName: 'Isthmus root' });
  return certificate({
    issuerName: subject,
    subject,
    publicKey,
    key: request.key,
    notBeforeMs: request.nowMs - CLOCK_SKEW_MS,
    notAfterMs: request.nowMs + request.ttlMs,
    extensions: [
      extension(OID.basicConstraints, true, seq(bool(true))),
      extension(OID.keyUsage, true, KEY_USAGE_CA),
      extension(OID.subjectAltName, false, seq(uri(spiffeIds.authority(request.federation)))),
      extension(OID.subjectKeyId, false, octets(keyId(publicKey))),
    ],
  });
}

type RootLinkRequest = { readonly issuer: Issuer; readonly root: Buffer; readonly federation: TrustDomain; readonly nowMs: number };

/**
 * A newer root's key under an older root's signature: for who knows the older one only, while both are trusted. Subject,
 * key identifier and SPIFFE ID are the newer root's, so that one chain leads to either.
 * Its life is clipped to its issuer's. **Throws** PKI_ISSUER_EXPIRED.
 */
export function draftRootLink(request: RootLinkRequest): Draft {
  const { issuer, root, federation, nowMs } = request;
  const { publicKey, validTo } = new X509Certificate(root);
  return certificate({
    ...fromIssuer(issuer, nowMs, Date.parse(validTo) - nowMs, CLOCK_SKEW_MS),
    subject: factsOf(root).subject,
    publicKey,
    extensions: [
      extension(OID.basicConstraints, true, seq(bool(true))),
      extension(OID.keyUsage, true, KEY_USAGE_CA),
      extension(OID.subjectAltName, false, seq(uri(spiffeIds.authority(federation)))),
      extension(OID.subjectKeyId, false, octets(keyId(publicKey))),
      authorityKeyId(issuer),
    ],
  });
}

/**
 * An intermediate for one trust domain: path length 0, and constrained by name so that nothing it signs can speak for
 * another domain (RFC 5280 §4.2.1.10: a URI constraint without a leading dot is that one host). Its life is clipped to
 * its issuer's. **Throws** PKI_ISSUER_EXPIRED.
 */
export function signIntermediate(request: IntermediateRequest): Buffer {
  return finished(draftIntermediate(request), request.issuer.key);
}

type IntermediateRequest = { readonly issuer: Issuer; readonly publicKey: KeyObject; readonly trustDomain: TrustDomain; readonly nowMs: number; readonly ttlMs: number };

/** The same, to be signed by who holds the key. **Throws** PKI_ISSUER_EXPIRED. */
export function draftIntermediate(request: IntermediateRequest): Draft {
  const { issuer, publicKey, trustDomain } = request;
  const permitted = tagged(0, [seq(tagged(6, Buffer.from(trustDomain)))]);
  return certificate({
    ...fromIssuer(issuer, request.nowMs, request.ttlMs, CLOCK_SKEW_MS),
    subject: name({ organization: trustDomain, commonName: 'Isthmus intermediate' }),
    serial: svidSerial(spiffeIds.authority(trustDomain), request.nowMs),
    publicKey,
    extensions: [
      extension(OID.basicConstraints, true, seq(bool(true), smallInt(0))),
      extension(OID.keyUsage, true, KEY_USAGE_CA),
      extension(OID.nameConstraints, true, seq(permitted)),
      extension(OID.subjectAltName, false, seq(uri(spiffeIds.authority(trustDomain)))),
      extension(OID.subjectKeyId, false, octets(keyId(publicKey))),
      authorityKeyId(issuer),
    ],
  });
}

/**
 * An X.509-SVID: exactly one URI SAN, not a CA, digitalSignature alone, for servers and clients. DNS names are for
 * clients that know no SPIFFE. Its life is clipped to its issuer's. Source: X.509-SVID §2–4.
 * **Throws** PKI_ISSUER_EXPIRED; PKI_CERTIFICATE_INVALID for an IP address that is none.
 */
export function signSvid(request: SvidRequest): Buffer {
  return finished(draftSvid(request), request.issuer.key);
}

type SvidRequest = {
  readonly issuer: Issuer;
  readonly publicKey: KeyObject;
  readonly spiffeId: SpiffeId;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly commonName?: string;
  readonly nowMs: number;
  readonly ttlMs: number;
  readonly backdateMs?: number;
  /** Who asked for it, where that is another than `spiffeId`: an agent that holds a service’s SVID. It is found again by `holderTag`. */
  readonly holder?: SpiffeId;
  /** Stands in the serial number as the moment of issuing. Default `nowMs`. */
  readonly askedAtMs?: number;
};

/** The same, to be signed by who holds the key. **Throws** as `signSvid`. */
export function draftSvid(request: SvidRequest): Draft {
  const { issuer, publicKey, spiffeId, dnsNames = [], ipAddresses = [] } = request;
  const sans = [uri(spiffeId), ...dnsNames.map((dns) => tagged(2, Buffer.from(dns))), ...ipAddresses.map((ip) => tagged(7, ipBytes(ip)))];
  return certificate({
    ...fromIssuer(issuer, request.nowMs, request.ttlMs, request.backdateMs ?? CLOCK_SKEW_MS),
    subject: name(request.commonName === undefined ? {} : { commonName: request.commonName }),
    publicKey,
    serial: svidSerial(request.holder ?? spiffeId, request.askedAtMs ?? request.nowMs),
    extensions: [
      extension(OID.basicConstraints, true, seq()),
      extension(OID.keyUsage, true, KEY_USAGE_LEAF),
      extension(OID.extKeyUsage, false, seq(oid(OID.serverAuth), oid(OID.clientAuth))),
      // Critical where the subject is empty (RFC 5280 §4.2.1.6).
      extension(OID.subjectAltName, request.commonName === undefined, seq(...sans)),
      extension(OID.subjectKeyId, false, octets(keyId(publicKey))),
      authorityKeyId(issuer),
    ],
  });
}

type Certificate = {
  readonly issuerName: Asn1;
  readonly subject: Asn1;
  readonly publicKey: KeyObject;
  readonly key: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly extensions: readonly Asn1[];
  /** Random where it is not given. */
  readonly serial?: Buffer;
};

function finished({ bytes, finish }: Draft, key: KeyObject): Buffer {
  return finish(signBytes(key, bytes));
}

function certificate(c: Certificate): Draft {
  const tbs = sequenceDer([
    tagged(0, [smallInt(2)]),
    int(c.serial ?? serialNumber()),
    signatureAlgorithm(c.key),
    c.issuerName,
    seq(time(c.notBeforeMs), time(c.notAfterMs)),
    c.subject,
    spkiDer(c.publicKey),
    tagged(3, [seq(...c.extensions)]),
  ]);
  return draft(tbs, c.key);
}

type IssuerFacts = { readonly subject: Asn1; readonly keyId: Buffer; readonly notBeforeMs: number; readonly notAfterMs: number };
/** Reading an issuer costs more than signing; one authority signs thousands with the same one. */
const issuers = new WeakMap<Buffer, IssuerFacts>();

function factsOf(cert: Buffer): IssuerFacts {
  const before = issuers.get(cert);
  if (before !== undefined) return before;
  const x509 = new X509Certificate(cert);
  const [tbs] = childrenOf(fromDer(cert));
  const subject = childrenOf(tbs)[5];
  if (subject === undefined) throw fail('PKI_CERTIFICATE_INVALID', 'the issuer is no certificate of version 3');
  const facts = { subject, keyId: keyId(x509.publicKey), notBeforeMs: Date.parse(x509.validFrom), notAfterMs: Date.parse(x509.validTo) };
  issuers.set(cert, facts);
  return facts;
}

function fromIssuer(issuer: Issuer, nowMs: number, ttlMs: number, backdateMs: number): Pick<Certificate, 'issuerName' | 'key' | 'notBeforeMs' | 'notAfterMs'> {
  const facts = factsOf(issuer.cert);
  if (facts.notAfterMs <= nowMs) throw fail('PKI_ISSUER_EXPIRED', `the issuing certificate ran out at ${new Date(facts.notAfterMs).toISOString()}`);
  return {
    issuerName: facts.subject,
    key: issuer.key,
    notBeforeMs: Math.max(facts.notBeforeMs, nowMs - backdateMs),
    notAfterMs: Math.min(facts.notAfterMs, nowMs + ttlMs),
  };
}

function authorityKeyId(issuer: Issuer): Asn1 {
  return extension(OID.authorityKeyId, false, seq(tagged(0, factsOf(issuer.cert).keyId)));
}

/** SHA-1 of the key's bits, the usual method (RFC 5280 §4.2.1.2); an identifier, not a protection. */
function keyId(publicKey: KeyObject): Buffer {
  const [, bitString] = sequenceOf(readDer(spkiDer(publicKey)));
  return createHash('sha1').update(bitsOf(bitString).bytes).digest();
}

/** 127 random bits, positive and never zero (RFC 5280 §4.1.2.2 allows 20 octets). */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function uri(id: SpiffeId): Asn1 {
  return tagged(6, Buffer.from(id));
}

function bitString(byte: number, unused: number): Asn1 {
  return bits(Buffer.from([byte]), unused);
}

function ipBytes(ip: string): Buffer {
  if (isIPv4(ip)) return Buffer.from(ip.split('.').map(Number));
  if (ip === '::1') return Buffer.concat([Buffer.alloc(15), Buffer.from([1])]);
  throw fail('PKI_CERTIFICATE_INVALID', `${ip} is neither an IPv4 address nor ::1`);
}
