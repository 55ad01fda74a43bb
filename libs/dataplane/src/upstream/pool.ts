// HTTP connections kept per endpoint; pools of endpoints that are gone, or of an older SVID, finish their requests and close.
import { Pool } from '@isthmus/runtime';
import { type Destination, destinationKey, type DialOptions, dial } from './connect.ts';

export type EndpointPoolsOptions = DialOptions & {
  /** Connections per endpoint; requests beyond wait in the pool's queue. */
  readonly connections: number;
  /** Shorter than the inbound side's, so that the side that sends is the side that closes (no POST lost to a race). */
  readonly keepAliveMs: number;
};

export interface EndpointPools {
  /** The pool of one destination, made at first use. */
  get(destination: Destination): Pool;
  /** Drains every pool whose destination is not among these. */
  retain(destinations: readonly Destination[]): void;
  /** Connections open, for status. */
  count(): number;
  close(): Promise<void>;
}

/** Opens an empty set of pools; a new SVID drains all of them, so no connection outlives the identity it was made with by long. */
export function openEndpointPools(options: EndpointPoolsOptions): EndpointPools {
  const pools = new Map<string, Pool>();
  const leaving = new Set<Promise<unknown>>();

  const drain = (key: string, pool: Pool): void => {
    pools.delete(key);
    const closing = pool.close().catch(() => undefined);
    leaving.add(closing);
    void closing.then(() => leaving.delete(closing));
  };
  const stop = options.svids.onChange(() => {
    for (const [key, pool] of pools) drain(key, pool);
  });

  return {
    get(destination) {
      const key = destinationKey(destination);
      let pool = pools.get(key);
      if (pool === undefined) {
        pool = makePool(destination, options);
        pools.set(key, pool);
      }
      return pool;
    },
    retain(destinations) {
      const wanted = new Set(destinations.map(destinationKey));
      for (const [key, pool] of pools) if (!wanted.has(key)) drain(key, pool);
    },
    count() {
      let connections = 0;
      for (const pool of pools.values()) connections += pool.stats.connected;
      return connections;
    },
    async close() {
      stop();
      const open = [...pools.values()];
      pools.clear();
      await Promise.all([...open.map((pool) => pool.destroy()), ...leaving]);
    },
  };
}

function makePool(destination: Destination, options: EndpointPoolsOptions): Pool {
  return new Pool('http://mesh.invalid', {
    connections: options.connections,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: options.keepAliveMs,
    keepAliveMaxTimeout: options.keepAliveMs,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (_target, done) => {
      dial(destination, options).then(
        (socket) => done(null, socket),
        (error: unknown) => done(error instanceof Error ? error : new Error(String(error)), null),
      );
    },
  });
}
