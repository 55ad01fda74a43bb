// Who is calling: the identity the connection proved, found by the connection a call came on.
import { X509Certificate } from 'node:crypto';
import { type SpiffeId, type TrustDomain, trustDomainOf } from '@isthmus/model';

export type Caller = {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  /** Serial number (hex) of the certificate the connection began with. */
  readonly serial: string;
  /** When that certificate ends. */
  readonly expiresAtMs: number;
};

/** Identities of open connections, by remote address and port: unique among a server's open connections. */
const connections = new Map<string, Caller>();

/** The caller's verified identity; undefined when the connection presented none. */
export function callerOf(call: { getPeer(): string }): Caller | undefined {
  return connections.get(call.getPeer());
}

/** Notes a connection's identity until it closes. */
export function rememberCaller(socket: { readonly remoteAddress?: string | undefined; readonly remotePort?: number | undefined; once(event: 'close', fn: () => void): unknown }, spiffeId: SpiffeId, leaf: Uint8Array): void {
  const key = `${socket.remoteAddress}:${socket.remotePort}`;
  const { serialNumber, validTo } = new X509Certificate(leaf);
  connections.set(key, { spiffeId, trustDomain: trustDomainOf(spiffeId), serial: serialNumber, expiresAtMs: Date.parse(validTo) });
  socket.once('close', () => connections.delete(key));
}

/** The process at the other end of a Unix socket, as the kernel told it when the connection came. */
export type UnixPeer = { readonly pid: number; readonly uid: number; readonly gid: number; readonly path?: string };

type NamedSocket = Parameters<typeof rememberCaller>[0];

const peers = new Map<string, UnixPeer>();
let lastPeer = 0;

/** The process that calls; undefined unless the server was started with `peerOf`. */
export function unixPeerOf(call: { getPeer(): string }): UnixPeer | undefined {
  return peers.get(call.getPeer());
}

/** Notes a Unix connection's peer until it closes. Such a connection has no address, so it is given a name to be found by. */
export function rememberPeer(socket: NamedSocket, peer: UnixPeer): void {
  const number = ++lastPeer;
  Object.defineProperty(socket, 'remoteAddress', { value: 'unix' });
  Object.defineProperty(socket, 'remotePort', { value: number });
  peers.set(`unix:${number}`, peer);
  socket.once('close', () => peers.delete(`unix:${number}`));
}
