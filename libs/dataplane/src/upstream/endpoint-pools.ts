// The pools of all endpoints of one service; those of endpoints that are gone, or of an older SVID, finish their requests and close.
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { ClientConnection } from '../http/exchange.ts';
import { type Destination, destinationKey } from './connect.ts';
import { ConnectionPool } from './pool.ts';

export type HttpVersion = ClientConnection['version'];

export type EndpointPoolsOptions = {
  readonly dial: (destination: Destination, version: HttpVersion) => Promise<ClientConnection>;
  /** Connections to one endpoint in each version. */
  readonly connections: number;
  /** Requests that may wait for a connection to one endpoint. */
  readonly queue: number;
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  readonly clock: Clock;
  /** Shorter than the inbound side's, so that the side that sends is the side that closes (no POST lost to a race). */
  readonly keepAliveMs: number;
  readonly onDialFailed: (destination: Destination, error: Error) => void;
};

/** What one new HTTP/2 connection is expected to carry before its peer has said how much it may. Source: RFC 9113 §6.5.2. */
export const STREAMS_EXPECTED = 100;

/**
 * **Owns** its pools. A new SVID drains all of them, and so does a root that leaves a bundle: no connection outlives the
 * identities it was made with by long, and none has to be cut off for it.
 */
export class EndpointPools {
  readonly #options: EndpointPoolsOptions;
  readonly #pools = new Map<string, ConnectionPool>();
  readonly #leaving = new Set<ConnectionPool>();
  readonly #stop: () => void;
  #roots: ReadonlySet<string>;
  /** Called when pools were drained: whoever remembers one must ask again. */
  onDrain: (() => void) | undefined;

  constructor(options: EndpointPoolsOptions) {
    this.#options = options;
    const stops = [options.svids.onChange(() => this.retain([])), options.bundles.onChange(() => this.#bundlesChanged())];
    this.#stop = () => {
      for (const stop of stops) stop();
    };
    this.#roots = rootsIn(options.bundles);
  }

  /** The pool of one destination, made at first use. */
  get(destination: Destination, version: HttpVersion): ConnectionPool {
    const key = `${destinationKey(destination)} ${version}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      const { dial, connections, queue, clock, keepAliveMs, onDialFailed } = this.#options;
      pool = new ConnectionPool({
        dial: () => dial(destination, version),
        connections,
        queue,
        clock,
        idleMs: keepAliveMs,
        requestsPerConnection: version === '2' ? STREAMS_EXPECTED : 1,
        onDialFailed: (error) => onDialFailed(destination, error),
      });
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Drains every pool whose destination is not among these. */
  retain(destinations: readonly Destination[]): void {
    const wanted = new Set(destinations.flatMap((d) => [`${destinationKey(d)} 1.1`, `${destinationKey(d)} 2`]));
    for (const [key, pool] of this.#pools) {
      if (wanted.has(key)) continue;
      this.#pools.delete(key);
      this.#leaving.add(pool);
      pool.onEmpty = () => this.#leaving.delete(pool);
      pool.drain();
    }
    this.onDrain?.();
  }

  #bundlesChanged(): void {
    const before = this.#roots;
    this.#roots = rootsIn(this.#options.bundles);
    if (!before.isSubsetOf(this.#roots)) this.retain([]);
  }

  /** Connections open or being dialled, those that are leaving included. */
  get count(): number {
    let connections = 0;
    for (const pool of this.#pools.values()) connections += pool.count;
    for (const pool of this.#leaving) connections += pool.count;
    return connections;
  }

  /** Cuts everything off. */
  close(): void {
    this.#stop();
    for (const pool of this.#pools.values()) pool.destroy();
    for (const pool of this.#leaving) pool.destroy();
    this.#pools.clear();
    this.#leaving.clear();
  }
}

function rootsIn(bundles: BundleSource): ReadonlySet<string> {
  return new Set(bundles.all().flatMap((b) => b.x509Authorities.map((authority) => `${b.trustDomain} ${authority}`)));
}
