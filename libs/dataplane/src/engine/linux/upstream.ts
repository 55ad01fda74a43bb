// The endpoint's socket of a relayed connection, and what both sockets of one have in common.
import * as libc from '../../transport/linux/libc.ts';
import type { Watched } from '../../transport/linux/loop.ts';
import type { Connection } from './connection.ts';
import type { Gateway } from './gateway.ts';
import type { Side } from './relay-stream.ts';

/** All events at once, told when they change: one registration a socket. */
export const EVENTS = libc.EPOLLIN | libc.EPOLLPRI | libc.EPOLLOUT | libc.EPOLLRDHUP | libc.EPOLLET;
const FAULTS = libc.EPOLLHUP | libc.EPOLLERR;
const ENDS = libc.EPOLLRDHUP | libc.EPOLLHUP | libc.EPOLLERR;

/** Keeps what the kernel told of a socket: it does not say it twice. */
export function noteEvents(side: Side, events: number): void {
  if ((events & libc.EPOLLOUT) !== 0) side.writable = true;
  if ((events & (libc.EPOLLIN | ENDS)) !== 0) side.readable = true;
  if ((events & ENDS) !== 0) side.peerEnded = true;
  if ((events & (libc.EPOLLPRI | FAULTS)) !== 0) side.sawUrgent = true;
}

/** Lets go of a watched socket, by a reset or an end. */
export function closeSocket(gateway: Gateway, key: number, fd: number, reset: boolean): void {
  if (reset) libc.resetOnClose(fd);
  gateway.loop.forget(key);
  gateway.loop.closeOwn(fd);
}

/** The endpoint's socket. Owned by its connection. */
export class Upstream implements Watched, Side {
  readonly #connection: Connection;
  readonly #gateway: Gateway;
  readonly #key: number;
  fd: number;
  readable = false;
  writable = false;
  peerEnded = false;
  sawUrgent = false;
  delays = true;
  #connected = false;

  constructor(connection: Connection, gateway: Gateway, fd: number) {
    this.#connection = connection;
    this.#gateway = gateway;
    this.fd = fd;
    this.#key = gateway.loop.watch(fd, EVENTS, this);
  }

  onEvents(events: number): void {
    noteEvents(this, events);
    if (this.#connected) return this.#connection.onUpstreamEvents(events);
    try {
      this.#onConnecting(events);
    } catch (error) {
      this.#connection.failed(error);
    }
  }

  #onConnecting(events: number): void {
    if ((events & (libc.EPOLLERR | libc.EPOLLHUP)) !== 0) {
      const error = libc.socketError(this.fd);
      return this.#connection.notReached(libc.errorName(error));
    }
    if (!this.writable) return;
    this.#connected = true;
    this.#connection.connected(this);
  }

  close(reset: boolean): void {
    if (this.fd < 0) return;
    closeSocket(this.#gateway, this.#key, this.fd, reset);
    this.fd = -1;
  }
}
