// Who is calling: the identity the connection proved, found by the connection a call came on.
import { type SpiffeId, type TrustDomain, trustDomainOf } from '@isthmus/model';

export type Caller = { readonly spiffeId: SpiffeId; readonly trustDomain: TrustDomain };

/** Identities of open connections, by remote address and port: unique among a server's open connections. */
const connections = new Map<string, SpiffeId>();

/** The caller's verified identity; undefined when the connection presented none. */
export function callerOf(call: { getPeer(): string }): Caller | undefined {
  const spiffeId = connections.get(call.getPeer());
  return spiffeId && { spiffeId, trustDomain: trustDomainOf(spiffeId) };
}

/** Notes a connection's identity until it closes. */
export function rememberCaller(socket: { readonly remoteAddress?: string | undefined; readonly remotePort?: number | undefined; once(event: 'close', fn: () => void): unknown }, spiffeId: SpiffeId): void {
  const key = `${socket.remoteAddress}:${socket.remotePort}`;
  connections.set(key, spiffeId);
  socket.once('close', () => connections.delete(key));
}
