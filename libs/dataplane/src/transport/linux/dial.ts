// Opens connections and listening sockets on the loop.
import { fail } from '../../errors.ts';
import { listenFailed } from '../../proxy/listen.ts';
import { names } from '../name-cache.ts';
import * as libc from './libc.ts';
import type { Loop } from './loop.ts';
import { type SocketAddress, socketAddress, socketAddressOf } from './socket-address.ts';

/** Peers that vanish without a word while nothing is said are found out within half a minute (reliability 79). */
export function keepAlive(fd: number): void {
  libc.setOption(fd, libc.SOL_SOCKET, libc.SO_KEEPALIVE, 1);
  libc.setOption(fd, libc.IPPROTO_TCP, libc.TCP_KEEPIDLE, 15);
  libc.setOption(fd, libc.IPPROTO_TCP, libc.TCP_KEEPINTVL, 5);
  libc.setOption(fd, libc.IPPROTO_TCP, libc.TCP_KEEPCNT, 3);
}

/**
 * A socket on its way to `address`; the caller owns it. With `speaksAtOnce` the caller sends first, as soon as it is connected:
 * the answer to the handshake goes with those bytes instead of before them (on a socket that connects, TCP_DEFER_ACCEPT says
 * that), and TCP_NODELAY and `keepAlive` are the caller's, for calls that a short connection does not need.
 */
export function connectingSocket(address: SocketAddress, speaksAtOnce = false): number {
  const fd = libc.openSocket(address.family);
  if (fd < 0) throw fail('DATAPLANE_CONNECT_FAILED', `no socket: ${libc.errorName(libc.errno())}`, { facts: { errno: libc.errno() } });
  if (speaksAtOnce) libc.setOption(fd, libc.IPPROTO_TCP, libc.TCP_DEFER_ACCEPT, 1);
  else {
    libc.setOption(fd, libc.IPPROTO_TCP, libc.TCP_NODELAY, 1);
    keepAlive(fd);
  }
  if (libc.connect(fd, address.bytes, address.bytes.length) < 0 && libc.errno() !== libc.EINPROGRESS) {
    const error = libc.errno();
    libc.close(fd);
    throw fail('DATAPLANE_CONNECT_FAILED', `connect failed: ${libc.errorName(error)}`, { facts: { errno: error } });
  }
  return fd;
}

/** The address of a host that may be a name. **Throws** what the lookup throws. */
export async function addressOf(loop: Loop, host: string, port: number): Promise<SocketAddress> {
  const direct = socketAddress(host, port);
  if (direct !== undefined) return direct;
  const [first] = await loop.hold(names.addresses(host));
  const found = first === undefined ? undefined : socketAddress(first.address, port);
  if (found === undefined) throw fail('DATAPLANE_CONNECT_FAILED', `${host} has no address that can be connected to`);
  return found;
}

export interface LoopListener {
  readonly host: string;
  readonly port: number;
  /** Accepts what waits to be accepted, which closing would reset, then closes. */
  drain(): void;
  close(): void;
}

const BACKLOG = 4_096;
const ACCEPTS_A_TURN = 64;
/** Out of descriptors: accepting rests that long, what is open goes on (reliability 59). */
const REST_MS = 100;

/**
 * One of several sockets on the same port, each in a loop of its own; the kernel spreads connections over them. The `first`
 * takes the port only where nobody has it, so that a second program meets a port in use (reliability 85); the others join it.
 */
export type ListenerOptions = {
  readonly sharesPort?: 'first' | 'joins';
  /** A `HeldPort`'s: the listener accepts what waits there, and on it. */
  readonly heldFd?: number;
};

/** A port whose connections wait in the system until a listener accepts them. **Owns** its descriptor; listeners have copies. */
export interface HeldPort {
  readonly host: string;
  readonly port: number;
  readonly fd: number;
  /** What waits is reset, unless a listener is there to take it. Idempotent. */
  close(): void;
}

/** Listens, and accepts nothing. **Throws** DATAPLANE_LISTEN_FAILED. */
export function holdPort(host: string, port: number, label: string): HeldPort {
  const fd = listeningSocket(host, port, label, undefined);
  let closed = false;
  return {
    ...boundAddress(fd),
    fd,
    close: () => {
      if (!closed) libc.close(fd);
      closed = true;
    },
  };
}

/** Listens; each accepted descriptor is `onAccept`'s to own. **Throws** DATAPLANE_LISTEN_FAILED. */
export function openListener(loop: Loop, host: string, port: number, label: string, onAccept: (fd: number) => void, onExhausted: () => void, options: ListenerOptions = {}): LoopListener {
  const fd = options.heldFd === undefined ? listeningSocket(host, port, label, options.sharesPort) : libc.duplicate(options.heldFd);
  if (fd < 0) throw listenFailed(label, { host, port }, libc.errorName(libc.errno()));
  loop.own(fd);

  let closed = false;
  let resting: { cancel(): void } | undefined;
  const key = loop.watch(fd, libc.EPOLLIN, { onEvents: acceptSome });
  function acceptSome(): void {
    for (let i = 0; i < ACCEPTS_A_TURN && !closed; i++) {
      const accepted = libc.accept(fd);
      if (accepted >= 0) {
        onAccept(accepted);
        continue;
      }
      const error = libc.errno();
      if (error === libc.ECONNABORTED || error === libc.EINTR) continue;
      if (error !== libc.EAGAIN) rest();
      return;
    }
  }
  function rest(): void {
    onExhausted();
    loop.change(key, fd, 0);
    resting = loop.setTimer(REST_MS, () => {
      if (!closed) loop.change(key, fd, libc.EPOLLIN);
    });
  }
  const close = (): void => {
    if (closed) return;
    closed = true;
    resting?.cancel();
    loop.unwatch(key, fd);
    loop.closeOwn(fd);
  };
  return {
    ...boundAddress(fd),
    drain: () => {
      for (let accepted = closed ? -1 : libc.accept(fd); accepted >= 0; accepted = libc.accept(fd)) onAccept(accepted);
      close();
    },
    close,
  };
}

function listeningSocket(host: string, port: number, label: string, sharesPort: 'first' | 'joins' | undefined): number {
  const address = socketAddress(host === 'localhost' ? '127.0.0.1' : host, port);
  if (address === undefined) throw listenFailed(label, { host, port }, 'the host is to be an IP address');
  const fd = libc.openSocket(address.family);
  const give = (): never => {
    const error = libc.errno();
    if (fd >= 0) libc.close(fd);
    throw listenFailed(label, { host, port }, libc.errorName(error));
  };
  if (fd < 0) give();
  libc.setOption(fd, libc.SOL_SOCKET, libc.SO_REUSEADDR, 1);
  if (sharesPort === 'joins') libc.setOption(fd, libc.SOL_SOCKET, libc.SO_REUSEPORT, 1);
  // Accepted sockets take these over from the listening one.
  libc.setOption(fd, libc.IPPROTO_TCP, libc.TCP_NODELAY, 1);
  keepAlive(fd);
  if (libc.bind(fd, address.bytes, address.bytes.length) < 0) give();
  // Bound alone, shared from here on.
  if (sharesPort === 'first') libc.setOption(fd, libc.SOL_SOCKET, libc.SO_REUSEPORT, 1);
  if (libc.listen(fd, BACKLOG) < 0) give();
  return fd;
}

/** A listening socket has an address as long as it is open, which it is here. */
function boundAddress(fd: number): { readonly host: string; readonly port: number } {
  return socketAddressOf(libc.getsockname, fd) ?? { host: '', port: 0 };
}
