// The door to undici: outbound HTTP/1.1 for proxies, health checks and clients of the admin API.
import type { Socket } from 'node:net';
import { Agent, fetch } from 'undici';

export { Agent, Client, type Dispatcher, errors as httpErrors, Pool, request } from 'undici';

/** A `fetch` over connections the caller makes, and the end of them. */
export type ConnectedFetch = { readonly fetch: typeof fetch; close(): Promise<void> };

/** A `fetch` whose connections `connect` makes, whatever the URL says: TLS by SPIFFE ID, a gateway in between. At most 16, idle for 10 s. */
export function openFetch(connect: () => Promise<Socket>, limits: { readonly headersTimeoutMs: number }): ConnectedFetch {
  const agent = new Agent({
    connections: 16,
    pipelining: 1,
    keepAliveTimeout: 10_000,
    headersTimeout: limits.headersTimeoutMs,
    bodyTimeout: 0, // a watch is silent between heartbeats
    connect: (_options, callback) => {
      connect().then((socket) => callback(null, socket), (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), null));
    },
  });
  return { fetch: (input, init) => fetch(input, { ...init, dispatcher: agent }), close: () => agent.destroy() };
}
