// Bytes under a passphrase: scrypt (RFC 7914) for the key, AES-256-GCM for the rest, in a form with a version and its parameters.
import { createCipheriv, createDecipheriv, randomBytes, scrypt as scryptCallback } from 'node:crypto';
import { fail } from './errors.ts';

/** The first line of everything sealed; a file that begins with it is told from a plain one by this. */
export const SEALED_MARK = 'isthmus sealed v1\n';

/** 2^17, 8, 1: 128 MiB and about half a second, RFC 7914’s advice for files of 2009 raised eightfold (OWASP’s of today). */
const DEFAULT_COST = { logN: 17, r: 8, p: 1 } as const;
/** What a file may ask of its reader: a header is believed before anything is authenticated. */
const MAX_COST = { logN: 20, r: 16, p: 4 } as const;
const MIN_PASSPHRASE_BYTES = 8;
const MAX_HEADER_BYTES = 512;
const TAG_BYTES = 16;

export type SealCost = { readonly logN: number; readonly r: number; readonly p: number };

/** Seals under a passphrase of at least 8 bytes. `cost` is for tests. **Throws** PKI_PASSPHRASE_REFUSED for a shorter one. */
export async function seal(plain: Uint8Array, passphrase: Uint8Array, cost: SealCost = DEFAULT_COST): Promise<Buffer> {
  if (passphrase.length < MIN_PASSPHRASE_BYTES) throw fail('PKI_PASSPHRASE_REFUSED', `a passphrase of ${passphrase.length} bytes is too short, ${MIN_PASSPHRASE_BYTES} are needed`);
  const [salt, nonce] = [randomBytes(32), randomBytes(12)];
  const header = Buffer.from(`${SEALED_MARK}${JSON.stringify({ kdf: 'scrypt', ...cost, salt: salt.toString('base64'), cipher: 'aes-256-gcm', nonce: nonce.toString('base64') })}\n`);
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, salt, cost), nonce);
  cipher.setAAD(header);
  return Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

export function isSealed(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, SEALED_MARK.length)).toString('latin1') === SEALED_MARK;
}

/** Opens what `seal` made. **Throws** PKI_SEALED_INVALID: cut short, changed, of another version, or under another passphrase. */
export async function unseal(sealed: Uint8Array, passphrase: Uint8Array): Promise<Buffer> {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (!isSealed(bytes)) throw fail('PKI_SEALED_INVALID', 'this is nothing that was sealed, or of another version');
  const end = bytes.indexOf(10, SEALED_MARK.length);
  if (end === -1 || end > MAX_HEADER_BYTES || bytes.length < end + 1 + TAG_BYTES) throw fail('PKI_SEALED_INVALID', 'what was sealed is cut short');
  const { cost, salt, nonce } = readHeader(bytes.toString('latin1', SEALED_MARK.length, end));
  const decipher = createDecipheriv('aes-256-gcm', await deriveKey(passphrase, salt, cost), nonce);
  decipher.setAAD(bytes.subarray(0, end + 1));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(end + 1, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw fail('PKI_SEALED_INVALID', 'it does not open: the passphrase is another one, or the bytes were changed');
  }
}

function readHeader(text: string): { readonly cost: SealCost; readonly salt: Buffer; readonly nonce: Buffer } {
  const refused = (): Error => fail('PKI_SEALED_INVALID', 'the header of what was sealed does not parse, or asks for more than is allowed');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw refused();
  }
  if (typeof json !== 'object' || json === null) throw refused();
  const { kdf, cipher, logN, r, p, salt, nonce } = json as Readonly<Record<string, unknown>>;
  if (kdf !== 'scrypt' || cipher !== 'aes-256-gcm' || typeof salt !== 'string' || typeof nonce !== 'string') throw refused();
  const cost = { logN: whole(logN, MAX_COST.logN), r: whole(r, MAX_COST.r), p: whole(p, MAX_COST.p) };
  const [saltBytes, nonceBytes] = [Buffer.from(salt, 'base64'), Buffer.from(nonce, 'base64')];
  if (saltBytes.length !== 32 || nonceBytes.length !== 12 || cost.logN * cost.r * cost.p === 0) throw refused();
  return { cost, salt: saltBytes, nonce: nonceBytes };
}

function whole(value: unknown, max: number): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max ? value : 0;
}

function deriveKey(passphrase: Uint8Array, salt: Buffer, { logN, r, p }: SealCost): Promise<Buffer> {
  const N = 2 ** logN;
  return new Promise((resolve, reject) => {
    scryptCallback(passphrase, salt, 32, { N, r, p, maxmem: 256 * N * r + 1_048_576 }, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}
