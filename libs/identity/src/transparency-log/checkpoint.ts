// Checkpoints: the head of a log under the signature of its owner's CA, so that neither its end nor its past can be replaced unseen.
import { verify, X509Certificate } from 'node:crypto';
import { messageOf } from '@isthmus/model';
import { type Facts, canonicalJson, type Happening, type Head, type LogRecord } from './record.ts';

export const CHECKPOINT = 'checkpoint';
const CONTEXT = 'isthmus transparency checkpoint v1\n';
const MAX_CHAIN = 4;

/** Signs with the owner's CA key; `chain` begins with the CA's certificate and ends with the root (DER). */
export type CheckpointSigner = (bytes: Buffer) => Promise<{ readonly signature: Buffer; readonly chain: readonly Buffer[] }>;

/** What is signed: the owner's name, and how many records with which last hash. */
function signedBytes(owner: string, head: Head): Buffer {
  return Buffer.from(CONTEXT + canonicalJson({ owner, records: head.records, head: head.hash }));
}

/** The record that says the log stands at `head`. */
export async function signCheckpoint(owner: string, head: Head, sign: CheckpointSigner): Promise<Happening> {
  const { signature, chain } = await sign(signedBytes(owner, head));
  const facts: Facts = { owner, records: head.records, head: head.hash, signature: signature.toString('base64'), chain: chain.map((der) => der.toString('base64')) };
  return { kind: CHECKPOINT, facts };
}

export type CheckpointVerdict =
  | { readonly ok: true; readonly owner: string; /** DER of the chain, signer first. */ readonly chain: readonly Buffer[] }
  | { readonly ok: false; readonly why: string };

/**
 * Whether a checkpoint says of the log what is so, is signed by the CA whose certificate it carries, and that CA is the
 * owner's by name (X.509-SVID §4.3: a CA's SPIFFE ID is its trust domain). Who signed the CA is for `isUnderRoot`.
 */
export function verifyCheckpoint(record: LogRecord): CheckpointVerdict {
  try {
    const { owner, records, head, signature, chain } = record.facts;
    if (typeof owner !== 'string' || typeof signature !== 'string' || !Array.isArray(chain)) return { ok: false, why: 'the checkpoint lacks owner, signature or chain' };
    if (records !== record.index || head !== record.previous) return { ok: false, why: 'the checkpoint speaks of another place in the log' };
    const ders = (chain as readonly unknown[]).map((c) => Buffer.from(String(c), 'base64'));
    const [signer] = ders;
    if (signer === undefined || ders.length > MAX_CHAIN) return { ok: false, why: `the checkpoint’s chain has ${ders.length} certificates` };
    const cert = new X509Certificate(signer);
    if (!cert.ca || cert.subjectAltName !== `URI:spiffe://${owner}`) return { ok: false, why: `the checkpoint’s signer is not the CA of ${owner}` };
    const hash = cert.publicKey.asymmetricKeyType === 'ed25519' ? null : 'sha256';
    const isGood = verify(hash, signedBytes(owner, { records: record.index, hash: record.previous }), cert.publicKey, Buffer.from(signature, 'base64'));
    return isGood ? { ok: true, owner, chain: ders } : { ok: false, why: 'the checkpoint’s signature does not hold' };
  } catch (error) {
    return { ok: false, why: `the checkpoint does not parse: ${messageOf(error)}` };
  }
}

/** Whether each certificate of the chain was signed by the next, the last is one of `roots`, and all were valid at `atMs`. */
export function isUnderRoot(chain: readonly Buffer[], roots: readonly Buffer[], atMs: number): boolean {
  const last = chain.at(-1);
  if (last === undefined || !roots.some((root) => root.equals(last))) return false;
  const certs = chain.map((der) => new X509Certificate(der));
  return certs.every((cert, i) => {
    const issuer = certs[i + 1] ?? cert;
    // Times of certificates are whole seconds, and a log may be a moment behind its CA.
    const isValid = Date.parse(cert.validFrom) <= atMs + 1_000 && Date.parse(cert.validTo) > atMs;
    return isValid && cert.checkIssued(issuer) && cert.verify(issuer.publicKey);
  });
}
