// Addresses of names, asked for once at a time and kept: a name service that is slow or gone holds up nobody who was here before.
import { type LookupAddress, promises as dns } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { type Clock, systemClock } from '@isthmus/runtime';

/** An answer is taken as it is for so long. */
const FRESH_MS = 5_000;
/** Whoever has an older answer waits so long for a newer one, then takes the older. */
const PATIENCE_MS = 100;
/** Names remembered; the one asked for least lately goes first. */
const MAX_NAMES = 1_024;

type Known = { addresses: readonly LookupAddress[] | undefined; atMs: number; asking: Promise<readonly LookupAddress[]> | undefined };

export type NameCacheOptions = { readonly clock?: Clock; readonly lookup?: (host: string) => Promise<readonly LookupAddress[]> };

/**
 * The last good answer for each name (reliability 84). One question a name is under way at a time, so that a name service
 * that does not answer takes one of the few threads for each name, not for each connection.
 */
export class NameCache {
  readonly #clock: Clock;
  readonly #lookup: (host: string) => Promise<readonly LookupAddress[]>;
  readonly #known = new Map<string, Known>();

  constructor({ clock = systemClock, lookup = (host) => dns.lookup(host, { all: true }) }: NameCacheOptions = {}) {
    this.#clock = clock;
    this.#lookup = lookup;
  }

  /** Its addresses, at least one. **Throws** what the lookup throws, where no answer was ever had. */
  async addresses(host: string): Promise<readonly LookupAddress[]> {
    const known = this.#entry(host);
    if (known.addresses === undefined) return this.#ask(host, known);
    if (this.#clock.monotonicMs() - known.atMs < FRESH_MS) return known.addresses;
    return this.#newerSoon(this.#ask(host, known), known.addresses);
  }

  #entry(host: string): Known {
    const known = this.#known.get(host) ?? { addresses: undefined, atMs: 0, asking: undefined };
    this.#known.delete(host);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_NAMES && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(host, known);
    return known;
  }

  #ask(host: string, known: Known): Promise<readonly LookupAddress[]> {
    known.asking ??= this.#lookup(host)
      .then((addresses) => {
        if (addresses.length === 0) throw new Error(`${host} has no address`);
        known.addresses = addresses;
        known.atMs = this.#clock.monotonicMs();
        return addresses;
      })
      .finally(() => (known.asking = undefined));
    return known.asking;
  }

  #newerSoon(asking: Promise<readonly LookupAddress[]>, last: readonly LookupAddress[]): Promise<readonly LookupAddress[]> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(PATIENCE_MS, () => resolve(last));
      const settle = (addresses: readonly LookupAddress[]): void => {
        timer.cancel();
        resolve(addresses);
      };
      asking.then(settle, () => settle(last));
    });
  }
}

/** Of this thread. */
export const names = new NameCache();

/** The same for Node's own sockets. */
export const lookupByCache: LookupFunction = (host, options, done) => {
  names.addresses(host).then(
    (addresses) => {
      const [first] = addresses;
      if (options.all === true) done(null, [...addresses]);
      else done(null, first?.address ?? '', first?.family);
    },
    (error: NodeJS.ErrnoException) => done(error, ''),
  );
};
