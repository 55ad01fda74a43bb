// PROXY protocol version 2 (binary): a strict, bounded reader and a writer, both on plain bytes.
import { crc32c } from './crc32c.ts';
import { type IpPort, isMappedV4 } from './ip-address.ts';

const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const FIXED_BYTES = 16;
const VERSION_2 = 0x20;
const COMMAND_LOCAL = 0;
const COMMAND_PROXY = 1;
const UNSPEC = 0x00;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;
const TLV_CRC32C = 0x03;
const TLV_HEADER_BYTES = 3;

/** Two IPv6 addresses and two ports. */
const MAX_ADDRESS_BYTES = 36;
/** Bytes of TLVs that are let through; what they say is not used, but for the checksum. */
export const MAX_TLV_BYTES = 2_048;
/** No header that is accepted is longer, and none needs more bytes to be refused. */
export const MAX_PROXY_HEADER_BYTES = FIXED_BYTES + MAX_ADDRESS_BYTES + MAX_TLV_BYTES;

/** What the first bytes of a connection say. */
export type ProxyHeaderResult =
  /** Nothing wrong so far; the whole header has at least so many bytes. */
  | { readonly kind: 'need-more'; readonly atLeastBytes: number }
  | { readonly kind: 'refused' }
  /** The header takes the first `sizeBytes`; without addresses (LOCAL, UNSPEC) those of the connection itself count. */
  | { readonly kind: 'header'; readonly sizeBytes: number; readonly addresses?: { readonly source: IpPort; readonly destination: IpPort } };

const REFUSED: ProxyHeaderResult = { kind: 'refused' };
const needMore = (atLeastBytes: number): ProxyHeaderResult => ({ kind: 'need-more', atLeastBytes });

/**
 * Reads the header a connection begins with; `bytes` may go on beyond it. Refuses at the first byte that cannot belong to
 * one, so that whatever else was sent is not waited for. Pure; the addresses are copies. **Bounds** `MAX_PROXY_HEADER_BYTES`.
 * **Source** HAProxy's proxy-protocol.txt §2.2; what a LOCAL header holds is skipped, as it demands.
 */
export function readProxyHeader(bytes: Buffer): ProxyHeaderResult {
  const head = Math.min(bytes.length, SIGNATURE.length);
  if (SIGNATURE.compare(bytes, 0, head, 0, head) !== 0) return REFUSED;
  const [versionAndCommand, family] = [bytes[12], bytes[13]];
  if (versionAndCommand !== undefined && (versionAndCommand & 0xf0) !== VERSION_2) return REFUSED;
  if (versionAndCommand !== undefined && (versionAndCommand & 0x0f) > COMMAND_PROXY) return REFUSED;
  if (versionAndCommand === undefined || family === undefined) return needMore(FIXED_BYTES);
  const isLocal = (versionAndCommand & 0x0f) === COMMAND_LOCAL;
  if (!isLocal && family !== UNSPEC && family !== TCP_OVER_IPV4 && family !== TCP_OVER_IPV6) return REFUSED;
  if (bytes.length < FIXED_BYTES) return needMore(FIXED_BYTES);
  const sizeBytes = FIXED_BYTES + bytes.readUInt16BE(14);
  const ipBytes = isLocal ? 0 : ipBytesOf(family);
  const addressBytes = ipBytes === 0 ? 0 : ipBytes * 2 + 4;
  const tlvsAt = FIXED_BYTES + addressBytes;
  if (sizeBytes < tlvsAt || sizeBytes - tlvsAt > MAX_TLV_BYTES) return REFUSED;
  if (bytes.length < sizeBytes) return needMore(sizeBytes);
  if (!isLocal && !areTlvsGood(bytes.subarray(0, sizeBytes), tlvsAt)) return REFUSED;
  if (ipBytes === 0) return { kind: 'header', sizeBytes };
  const portsAt = FIXED_BYTES + ipBytes * 2;
  const source = { ip: Buffer.from(bytes.subarray(FIXED_BYTES, FIXED_BYTES + ipBytes)), port: bytes.readUInt16BE(portsAt) };
  const destination = { ip: Buffer.from(bytes.subarray(FIXED_BYTES + ipBytes, portsAt)), port: bytes.readUInt16BE(portsAt + 2) };
  return { kind: 'header', sizeBytes, addresses: { source, destination } };
}

function ipBytesOf(family: number): number {
  if (family === UNSPEC) return 0;
  return family === TCP_OVER_IPV4 ? 4 : 16;
}

/** The TLVs fill the rest of the header exactly, and there is at most one checksum, which holds. */
function areTlvsGood(header: Buffer, tlvsAt: number): boolean {
  let checksumAt: number | undefined;
  let at = tlvsAt;
  while (at < header.length) {
    if (at + TLV_HEADER_BYTES > header.length) return false;
    const valueAt = at + TLV_HEADER_BYTES;
    const length = header.readUInt16BE(at + 1);
    if (valueAt + length > header.length) return false;
    if (header[at] === TLV_CRC32C) {
      if (checksumAt !== undefined || length !== 4) return false;
      checksumAt = valueAt;
    }
    at = valueAt + length;
  }
  if (checksumAt === undefined) return true;
  const zeroed = Buffer.from(header);
  zeroed.writeUInt32BE(0, checksumAt);
  return crc32c(zeroed) === header.readUInt32BE(checksumAt);
}

/**
 * The header that says who a connection came from and to which address. Two IPv4 addresses, IPv4-mapped ones too, make an
 * IPv4 header; else both are written as IPv6. 28 or 52 bytes. Pure.
 */
export function writeProxyHeader(source: IpPort, destination: IpPort): Buffer {
  const ips = [asV4(source.ip), asV4(destination.ip)] as const;
  const isV4 = ips[0].length === 4 && ips[1].length === 4;
  const ipBytes = isV4 ? 4 : 16;
  const header = Buffer.alloc(FIXED_BYTES + ipBytes * 2 + 4);
  header.set(SIGNATURE);
  header[12] = VERSION_2 | COMMAND_PROXY;
  header[13] = isV4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
  header.writeUInt16BE(ipBytes * 2 + 4, 14);
  header.set(isV4 ? ips[0] : asV6(source.ip), FIXED_BYTES);
  header.set(isV4 ? ips[1] : asV6(destination.ip), FIXED_BYTES + ipBytes);
  header.writeUInt16BE(source.port, FIXED_BYTES + ipBytes * 2);
  header.writeUInt16BE(destination.port, FIXED_BYTES + ipBytes * 2 + 2);
  return header;
}

const MAPPED_PREFIX = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);

function asV4(ip: Buffer): Buffer {
  return isMappedV4(ip) ? ip.subarray(12) : ip;
}

function asV6(ip: Buffer): Buffer {
  return ip.length === 4 ? Buffer.concat([MAPPED_PREFIX, ip]) : ip;
}
