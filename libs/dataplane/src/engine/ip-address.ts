// IP addresses between their text and their bytes, and lists of CIDR ranges.
import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** An address of 4 or 16 bytes in network order, and a port. */
export type IpPort = { readonly ip: Buffer; readonly port: number };

/** The 4 or 16 bytes of an address in text; undefined when it is none. A zone (`%eth0`) is left out. */
export function ipBytes(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text)) return undefined;
  const [address = ''] = text.split('%');
  const [left = '', right] = address.split('::');
  const head = groupsOf(left);
  const tail = right === undefined ? [] : groupsOf(right);
  const bytes = Buffer.alloc(16);
  for (const [i, group] of head.entries()) bytes.writeUInt16BE(group, i * 2);
  for (const [i, group] of tail.entries()) bytes.writeUInt16BE(group, 16 - (tail.length - i) * 2);
  return bytes;
}

/** 16-bit groups of a part of an IPv6 address; one that ends with an IPv4 address gives two groups for it. */
function groupsOf(part: string): readonly number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const v4 = Buffer.from(group.split('.').map(Number));
    return [v4.readUInt16BE(0), v4.readUInt16BE(2)];
  });
}

/** The text of an address; an IPv4-mapped one as IPv4. IPv6 without zero compression. */
export function ipText(ip: Buffer): string {
  if (ip.length === 4) return ip.join('.');
  if (isMappedV4(ip)) return ip.subarray(12).join('.');
  return Array.from({ length: 8 }, (_, i) => ip.readUInt16BE(i * 2).toString(16)).join(':');
}

/** Whether 16 bytes are an IPv4 address in IPv6's clothes (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2). */
export function isMappedV4(ip: Buffer): boolean {
  return ip.length === 16 && ip.readUInt32BE(0) === 0 && ip.readUInt32BE(4) === 0 && ip.readUInt32BE(8) === 0xffff;
}

/** Which addresses are in any of the given CIDR ranges. */
export interface IpRanges {
  readonly isEmpty: boolean;
  /** For an address in text, as a socket has it; IPv4-mapped ones are looked up as IPv4. False for what is no address. */
  has(address: string | undefined): boolean;
}

/** **Throws** TypeError for a range that is none; configuration is checked with `isCidr` before. */
export function ipRanges(cidrs: readonly string[]): IpRanges {
  // One list for both families would take an IPv4 address for its IPv6 form: `::/0` is every IPv6 address and no other.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const cidr of cidrs) {
    if (!isCidr(cidr)) throw new TypeError(`${cidr} is not a CIDR range`);
    const [address = '', bits] = cidr.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    lists[family].addSubnet(address, Number(bits), family);
  }
  return {
    isEmpty: cidrs.length === 0,
    has: (address) => {
      if (address === undefined) return false;
      const ip = ipBytes(address);
      if (ip === undefined) return false;
      const family = ip.length === 4 || isMappedV4(ip) ? 'ipv4' : 'ipv6';
      return lists[family].check(ipText(ip), family);
    },
  };
}

/** Whether a text is `address/bits`. */
export function isCidr(text: string): boolean {
  const [address = '', bits = '', ...more] = text.split('/');
  if (more.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(bits)) return false;
  return (isIPv4(address) && Number(bits) <= 32) || (isIPv6(address) && !address.includes('%') && Number(bits) <= 128);
}
