// IPv4 ranges as address/bits: read, and asked what lies within.
import { isIPv4 } from 'node:net';

/** Within the loopback network: what nobody listens on is refused at once, and no packet to it ever leaves the machine. */
export const DEFAULT_ADDRESS_RANGE = '127.64.0.0/16';

export type Ipv4Range = { readonly text: string; readonly first: number; readonly size: number };

/** A range between /8 and /30, its host bits cleared; undefined for anything else. */
export function ipv4Range(text: string): Ipv4Range | undefined {
  const [base = '', bits = '', ...more] = text.split('/');
  const prefix = Number(bits);
  if (more.length > 0 || !isIPv4(base) || !/^[0-9]{1,2}$/.test(bits) || prefix < 8 || prefix > 30) return undefined;
  const size = 2 ** (32 - prefix);
  const start = ipv4Number(base);
  const first = start - (start % size);
  return { text: `${ipv4Text(first)}/${prefix}`, first, size };
}

export const ipv4Number = (address: string): number => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

export const ipv4Text = (n: number): string => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join('.');

export const isWithin = (range: Ipv4Range, n: number): boolean => n >= range.first && n < range.first + range.size;

/** Whether it lies within 127.0.0.0/8, which never leaves the machine. */
export const isLoopback = (range: Ipv4Range): boolean => range.first >>> 24 === 127;
