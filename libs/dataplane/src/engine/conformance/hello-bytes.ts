// Builds ClientHellos byte by byte, honest and not, for tests of relays.
import { randomBytes } from 'node:crypto';

export type HelloParts = {
  /** Server names as they stand in the one server_name extension; none leaves the extension out. */
  readonly names?: readonly (string | Buffer)[];
  /** The server_name extension stands so many times. */
  readonly sniTimes?: number;
  /** Other extensions come before it. */
  readonly isSniLast?: boolean;
  /** TLS 1.3 with supported_versions and key shares; else 1.2. */
  readonly isTls13?: boolean;
  readonly hasGrease?: boolean;
  /** Bytes of each key share: 32 for x25519, 65 for P-256, 1,216 for X25519MLKEM768. */
  readonly keyShareBytes?: readonly number[];
  /** The handshake message is padded to so many bytes, its 4 bytes of header among them. */
  readonly padTo?: number;
  /** At most so many bytes of it stand in one TLS record. */
  readonly recordBytes?: number;
};

const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 0xff]);
const vector8 = (...parts: Buffer[]): Buffer => Buffer.concat([Buffer.from([Buffer.concat(parts).length]), ...parts]);
const vector16 = (...parts: Buffer[]): Buffer => Buffer.concat([u16(Buffer.concat(parts).length), ...parts]);
const extension = (type: number, ...parts: Buffer[]): Buffer => Buffer.concat([u16(type), vector16(...parts)]);

const GREASE = 0x8a8a;
const PADDING = 21;
const MAX_RECORD_BYTES = 16_384;

function serverName(names: readonly (string | Buffer)[]): Buffer {
  return extension(0, vector16(...names.flatMap((name) => [Buffer.from([0]), vector16(Buffer.from(name))])));
}

function keyShare(sizes: readonly number[], hasGrease: boolean): Buffer {
  const shares = sizes.map((size, i) => Buffer.concat([u16(size === 1_216 ? 0x11ec : 0x001d + i), vector16(randomBytes(size))]));
  return extension(51, vector16(...(hasGrease ? [u16(GREASE), vector16(Buffer.alloc(1))] : []), ...shares));
}

/** The whole hello as it goes over the wire, in as many records as it takes. */
export function helloBytes(parts: HelloParts): Buffer {
  const { names = [], sniTimes = 1, isTls13 = true, hasGrease = false, keyShareBytes = [32], recordBytes = MAX_RECORD_BYTES } = parts;
  const sni = names.length === 0 ? [] : Array.from({ length: sniTimes }, () => serverName(names));
  const others = [
    ...(hasGrease ? [extension(GREASE)] : []),
    extension(10, vector16(u16(0x001d), u16(0x0017))),
    extension(13, vector16(u16(0x0403), u16(0x0804))),
    extension(16, vector16(vector8(Buffer.from('h2')), vector8(Buffer.from('http/1.1')))),
    ...(isTls13 ? [extension(43, vector8(u16(0x0304), u16(0x0303))), keyShare(keyShareBytes, hasGrease)] : []),
  ];
  const extensions = parts.isSniLast === true ? [...others, ...sni] : [...sni, ...others];
  const suites = [...(hasGrease ? [u16(GREASE)] : []), u16(0x1301), u16(0xc02f)];
  const head = Buffer.concat([u16(0x0303), randomBytes(32), vector8(isTls13 ? randomBytes(32) : Buffer.alloc(0)), vector16(...suites), vector8(Buffer.alloc(1))]);
  const sizeBytes = 4 + head.length + 2 + Buffer.concat(extensions).length;
  if (parts.padTo !== undefined) extensions.splice(extensions.length - (parts.isSniLast === true ? 1 : 0), 0, extension(PADDING, Buffer.alloc(parts.padTo - sizeBytes - 4)));
  return inRecords(handshake(Buffer.concat([head, vector16(...extensions)])), recordBytes);
}

function handshake(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([1, body.length >> 16]), u16(body.length & 0xffff), body]);
}

function inRecords(message: Buffer, recordBytes: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += recordBytes) records.push(Buffer.from([22, 3, 1]), vector16(message.subarray(at, at + recordBytes)));
  return Buffer.concat(records);
}
