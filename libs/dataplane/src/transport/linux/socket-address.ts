// Socket addresses as the kernel reads them: `struct sockaddr_in` and `sockaddr_in6`, to bytes and back.
import { isIPv4, isIPv6 } from 'node:net';
import { AF_INET, AF_INET6, type getpeername } from './libc.ts';

export type SocketAddress = { readonly family: number; readonly bytes: Buffer };

/** An address for bind or connect; undefined where `host` is a name, which has to be looked up first. */
export function socketAddress(host: string, port: number): SocketAddress | undefined {
  if (isIPv4(host)) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(AF_INET, 0);
    bytes.writeUInt16BE(port, 2);
    host.split('.').forEach((part, i) => bytes.writeUInt8(Number(part), 4 + i));
    return { family: AF_INET, bytes };
  }
  if (!isIPv6(host) || host.includes('%')) return undefined;
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  groupsOf(host).forEach((group, i) => bytes.writeUInt16BE(group, 8 + 2 * i));
  return { family: AF_INET6, bytes };
}

/** What getsockname or getpeername wrote. */
export function readSocketAddress(bytes: Buffer): { readonly host: string; readonly port: number } {
  const port = bytes.readUInt16BE(2);
  if (bytes.readUInt16LE(0) === AF_INET) return { host: [...bytes.subarray(4, 8)].join('.'), port };
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(8 + 2 * i).toString(16));
  return { host: groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::'), port };
}

// One for the thread: read before the next call writes here.
const written = Buffer.alloc(28);
const writtenBytes = Buffer.alloc(4);

/** A socket's own address (`getsockname`) or its peer's (`getpeername`); undefined where it has none, any more or yet. */
export function socketAddressOf(call: typeof getpeername, fd: number): { readonly host: string; readonly port: number } | undefined {
  if (fd < 0) return undefined;
  writtenBytes.writeInt32LE(written.length, 0);
  return call(fd, written, writtenBytes) < 0 ? undefined : readSocketAddress(written);
}

function groupsOf(host: string): number[] {
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host);
  const text = v4 === null ? host : `${v4[1]}${((Number(v4[2]) << 8) | Number(v4[3])).toString(16)}:${((Number(v4[4]) << 8) | Number(v4[5])).toString(16)}`;
  const [head = '', tail] = text.split('::');
  const parse = (part: string): number[] => (part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16)));
  if (tail === undefined) return parse(head);
  const left = parse(head);
  const right = parse(tail);
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}
