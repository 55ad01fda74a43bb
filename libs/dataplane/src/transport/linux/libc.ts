// The C library as the loop needs it: system calls through FFI, with the numbers of Linux on x64 and arm64.
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

const libc = koffi.load(null);

export const AF_INET = 2;
export const AF_INET6 = 10;
export const EPOLLIN = 0x1;
export const EPOLLPRI = 0x2;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const MSG_NOSIGNAL = 0x4000;
/** More follows: a TCP socket keeps what does not fill a packet, until the next send, `shutdown` or `close`, or 200 ms. */
export const MSG_MORE = 0x8000;
export const SHUT_WR = 1;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_DEFER_ACCEPT = 9;
export const TCP_USER_TIMEOUT = 18;
export const EINTR = 4;
export const EAGAIN = 11;
export const EMFILE = 24;
export const ENFILE = 23;
export const ENOMEM = 12;
export const EADDRNOTAVAIL = 99;
export const ECONNRESET = 104;
export const ENOBUFS = 105;
export const ECONNABORTED = 103;
export const EINPROGRESS = 115;

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const EPOLL_CLOEXEC = 0x80000;
const EFD_FLAGS = 0x80800;

type Fn = (...args: readonly unknown[]) => number;
const fn = (declaration: string): Fn => libc.func(declaration) as unknown as Fn;

const socketCall = fn('int socket(int, int, int)');
/**
 * Memory that never moves, for calls made for every connection: they are given its address, a number. A buffer as an
 * argument is looked up anew each time, which takes as long as the rest of the call does outside the kernel.
 */
export type FixedMemory = { readonly bytes: Buffer; /** Good as long as this is held: a call does not hold it. */ readonly address: number };
export function fixedMemory(sizeBytes: number): FixedMemory {
  const bytes = Buffer.from(new ArrayBuffer(sizeBytes));
  return { bytes, address: Number(koffi.address(bytes)) };
}

const accept4Call = fn('int accept4(int, intptr_t, intptr_t, int)');
const eventfdCall = fn('int eventfd(unsigned int, int)');
const epollCreateCall = fn('int epoll_create1(int)');
const epollCtlCall = fn('int epoll_ctl(int, int, int, intptr_t)');
const getsockoptCall = fn('int getsockopt(int, int, int, void *, void *)');
const setsockoptCall = fn('int setsockopt(int, int, int, intptr_t, int)');

export const bind = fn('int bind(int, void *, int)') as (fd: number, address: Uint8Array, size: number) => number;
export const listen = fn('int listen(int, int)') as (fd: number, backlog: number) => number;
const connectCall = fn('int connect(int, intptr_t, int)');
export const getsockname = fn('int getsockname(int, void *, void *)') as (fd: number, address: Uint8Array, size: Uint8Array) => number;
export const getpeername = fn('int getpeername(int, void *, void *)') as (fd: number, address: Uint8Array, size: Uint8Array) => number;
export const recv = fn('long recv(int, void *, long, int)') as (fd: number, into: Uint8Array, size: number, flags: number) => number;
export const send = fn('long send(int, void *, long, int)') as (fd: number, from: Uint8Array, size: number, flags: number) => number;
/** As `recv` and `send`, from or into a `FixedMemory`. */
export const recvAt = fn('long recv(int, intptr_t, long, int)') as (fd: number, address: number, size: number, flags: number) => number;
export const sendAt = fn('long send(int, intptr_t, long, int)') as (fd: number, address: number, size: number, flags: number) => number;
export const shutdown = fn('int shutdown(int, int)') as (fd: number, how: number) => number;
export const close = fn('int close(int)') as (fd: number) => number;
export const epollWait = fn('int epoll_wait(int, intptr_t, int, int)') as (epoll: number, address: number, count: number, timeoutMs: number) => number;
const pipe2Call = fn('int pipe2(void *, int)');
const fcntlCall = fn('int fcntl(int, int, int)');
const spliceCall = fn('long splice(int, intptr_t, int, intptr_t, long, unsigned int)');
const SPLICE_F_MOVE_NONBLOCK = 3;
const F_SETPIPE_SZ = 1031;
const F_DUPFD_CLOEXEC = 1030;

/** Another descriptor of the same open socket, or -1. */
export const duplicate = (fd: number): number => fcntlCall(fd, F_DUPFD_CLOEXEC, 0);

/** Moves up to so many bytes between a socket and a pipe without copying them here: the count, 0 at the end, -1 for an error. */
export const splice = (from: number, to: number, sizeBytes: number): number => spliceCall(from, 0, to, 0, sizeBytes, SPLICE_F_MOVE_NONBLOCK);

const pipeEnds = Buffer.alloc(8);
/** A pipe that holds up to `sizeBytes` (less where the system allows no more); undefined when there is no descriptor left. */
export function openPipe(sizeBytes: number): { readonly readFd: number; readonly writeFd: number } | undefined {
  if (pipe2Call(pipeEnds, SOCK_NONBLOCK | SOCK_CLOEXEC) < 0) return undefined;
  const writeFd = pipeEnds.readInt32LE(4);
  fcntlCall(writeFd, F_SETPIPE_SZ, sizeBytes);
  return { readFd: pipeEnds.readInt32LE(0), writeFd };
}

const readCall = fn('long read(int, void *, long)');
const writeCall = fn('long write(int, void *, long)');

/** The calling thread's errno after a call that failed. */
export const errno = (): number => koffi.errno();

/** The name of an error number, as node:net has it in `code`. A socket that hung up need not have one. */
export const errorName = (errorNumber: number): string => (errorNumber === 0 ? 'hung up' : getSystemErrorName(-errorNumber));

/** `struct epoll_event` is packed on x64 alone. */
export const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
export const EVENT_DATA_AT = process.arch === 'x64' ? 4 : 8;

const event = fixedMemory(16);
const eventView = new DataView(event.bytes.buffer);
export function epollControl(epoll: number, operation: number, fd: number, events: number, key: number): number {
  eventView.setUint32(0, events, true);
  eventView.setUint32(EVENT_DATA_AT, key, true);
  return epollCtlCall(epoll, operation, fd, event.address);
}

const remote = fixedMemory(32);
export function connect(fd: number, address: Uint8Array, sizeBytes: number): number {
  remote.bytes.set(address);
  return connectCall(fd, remote.address, sizeBytes);
}

export const epollCreate = (): number => epollCreateCall(EPOLL_CLOEXEC);
export const openSocket = (family: number): number => socketCall(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
export const accept = (fd: number): number => accept4Call(fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
export const openEventFd = (): number => eventfdCall(0, EFD_FLAGS);

const int = fixedMemory(8);
export function setOption(fd: number, level: number, option: number, value: number): number {
  int.bytes.writeInt32LE(value, 0);
  return setsockoptCall(fd, level, option, int.address, 4);
}

const LINGER_NOW = fixedMemory(8);
LINGER_NOW.bytes.writeInt32LE(1, 0);
/** Makes the next close send a reset instead of an end. */
export const resetOnClose = (fd: number): number => setsockoptCall(fd, SOL_SOCKET, SO_LINGER, LINGER_NOW.address, 8);

const size = Buffer.alloc(4);
/** The pending error of a socket: how a connect ended. */
export function socketError(fd: number): number {
  size.writeInt32LE(4, 0);
  return getsockoptCall(fd, SOL_SOCKET, SO_ERROR, int.bytes, size) < 0 ? errno() : int.bytes.readInt32LE(0);
}

const TCP_INFO = 11;
const TCP_INFO_BYTES = 148;
const info = Buffer.alloc(TCP_INFO_BYTES);

/** What a peer owes: `none`, it has taken everything; `owed`, an answer that is not late; `overdue`: silent where it should have answered. */
export type PeerDebt = 'none' | 'owed' | 'overdue';

/**
 * Whether the peer owes an answer, to data or to a probe of its closed window, and whether none came for so long. A peer that
 * only does not read answers the probes. **Source** `struct tcp_info` of Linux: retransmits, probes, unacked, last_ack_recv, notsent_bytes.
 */
export function peerDebt(fd: number, silentMs: number): PeerDebt {
  size.writeInt32LE(TCP_INFO_BYTES, 0);
  if (getsockoptCall(fd, IPPROTO_TCP, TCP_INFO, info, size) < 0) return 'owed';
  if ((info.readUInt8(2) > 0 || info.readUInt8(3) > 0) && info.readUInt32LE(56) > silentMs) return 'overdue';
  const isWholeAnswer = size.readInt32LE(0) >= TCP_INFO_BYTES;
  return isWholeAnswer && info.readUInt8(3) === 0 && info.readUInt32LE(24) === 0 && info.readUInt32LE(144) === 0 ? 'none' : 'owed';
}

/** Whether neither bytes nor acknowledgements came for so long: so too of a connection on which nobody said anything. */
export function hasHeardNothing(fd: number, silentMs: number): boolean {
  size.writeInt32LE(TCP_INFO_BYTES, 0);
  if (getsockoptCall(fd, IPPROTO_TCP, TCP_INFO, info, size) < 0) return false;
  return Math.min(info.readUInt32LE(52), info.readUInt32LE(56)) > silentMs;
}

const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
/** The same number for IPv6 (IP6T_SO_ORIGINAL_DST). **Source** linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h. */
const SO_ORIGINAL_DST = 80;
const originalAddress = Buffer.alloc(28);
/** The address a redirected connection was made to, as a socket address; undefined where the kernel knows none. Good until the next call. */
export function originalDestination(fd: number, isIpv6: boolean): Buffer | undefined {
  size.writeInt32LE(originalAddress.length, 0);
  return getsockoptCall(fd, isIpv6 ? IPPROTO_IPV6 : IPPROTO_IP, SO_ORIGINAL_DST, originalAddress, size) < 0 ? undefined : originalAddress;
}

const eight = Buffer.alloc(8);
export function signalEventFd(fd: number): void {
  eight.writeBigUInt64LE(1n);
  writeCall(fd, eight, 8);
}
export function clearEventFd(fd: number): void {
  readCall(fd, eight, 8);
}
