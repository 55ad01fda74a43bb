// Connections to one place that requests share: the last one used is used first, a dial is made once for all who wait.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { ClientConnection } from '../http/exchange.ts';

/** Why nobody can be had. `dial`: connecting failed; `full`: too many wait already; `gone`: the pool lets go of its place. */
export type PoolRefusal = { readonly kind: 'dial' | 'full' | 'gone'; readonly error: Error };

/** Waits for a connection. Hears exactly one of the two, at once or later, unless it is forgotten before. */
export interface ConnectionTaker {
  /** Sends its request within this call, or leaves the connection as it is. */
  taken(connection: ClientConnection): void;
  refused(why: PoolRefusal): void;
}

export type ConnectionPoolOptions = {
  /** Opens one connection, within a time limit of its own. */
  readonly dial: () => Promise<ClientConnection>;
  /** Connections at once, those being dialled included. */
  readonly connections: number;
  /** Those who may wait; one more is refused. */
  readonly queue: number;
  /** How many who wait one new connection is expected to serve: 1 in HTTP/1.1. */
  readonly requestsPerConnection: number;
  readonly clock: Clock;
  /** A connection nobody used for so long is closed; that may take half as long again. */
  readonly idleMs: number;
  /** Hears of each dial that failed, once however many waited for it. */
  readonly onDialFailed?: (error: Error) => void;
};

type Entry = { readonly connection: ClientConnection; isListed: boolean; /** The look-out of `#reap` that saw it unused first. */ unusedSince: number };

const GONE = new Error('its connections are being closed');
const FULL = new Error('too many requests wait for a connection');

/** **Owns** its connections: each is closed once, by itself, by `drain` or by `destroy`. **Bounds** connections and queue. */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #entries = new Set<Entry>();
  /** Those that take a request, the last used on top; some may have closed meanwhile. */
  readonly #free: Entry[] = [];
  readonly #waiting = new Set<ConnectionTaker>();
  #dialling = 0;
  #timer: TimerHandle | undefined;
  #look = 0;
  #state: 'open' | 'draining' | 'destroyed' = 'open';
  /** Called once the pool was told to drain and its last connection is closed. */
  onEmpty: (() => void) | undefined;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  /** Connections open or being dialled. */
  get count(): number {
    return this.#entries.size + this.#dialling;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Gives a connection to this taker: within this call where one is free. */
  take(taker: ConnectionTaker): void {
    if (this.#state !== 'open') return taker.refused({ kind: 'gone', error: GONE });
    for (let entry = this.#free.pop(); entry !== undefined; entry = this.#free.pop()) {
      entry.isListed = false;
      entry.unusedSince = 0;
      if (entry.connection.free <= 0) continue;
      taker.taken(entry.connection);
      return this.#list(entry);
    }
    if (this.#waiting.size >= this.#options.queue) return taker.refused({ kind: 'full', error: FULL });
    this.#waiting.add(taker);
    this.#dialEnough();
  }

  /** Takes back the wish of somebody who waits. */
  forget(taker: ConnectionTaker): void {
    this.#waiting.delete(taker);
  }

  /** Gives no more connections; those open close when their requests have ended. Whoever waits is refused. */
  drain(): void {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    this.#timer?.cancel();
    this.#refuseAll({ kind: 'gone', error: GONE });
    for (const entry of [...this.#entries]) entry.connection.drain();
    this.#emptied();
  }

  /** Cuts everything off. */
  destroy(): void {
    if (this.#state === 'destroyed') return;
    this.#state = 'destroyed';
    this.#timer?.cancel();
    this.#refuseAll({ kind: 'gone', error: GONE });
    for (const entry of [...this.#entries]) entry.connection.destroy();
  }

  #dialEnough(): void {
    const { connections, requestsPerConnection } = this.#options;
    const wanted = Math.ceil(this.#waiting.size / requestsPerConnection);
    while (this.#state === 'open' && this.#dialling < wanted && this.count < connections) this.#dial();
  }

  #dial(): void {
    this.#dialling += 1;
    this.#options.dial().then(
      (connection) => {
        this.#dialling -= 1;
        this.#add(connection);
      },
      (error: unknown) => {
        this.#dialling -= 1;
        this.#failed(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  #add(connection: ClientConnection): void {
    const entry: Entry = { connection, isListed: false, unusedSince: 0 };
    this.#entries.add(entry);
    connection.onFree = () => this.#serve(entry);
    connection.onClose = () => this.#closed(entry);
    if (this.#state === 'open') {
      this.#timer ??= this.#options.clock.setTimer(this.#options.idleMs / 2, this.#reap);
      this.#serve(entry);
    } else if (this.#state === 'draining') connection.drain();
    else connection.destroy();
  }

  #failed(error: Error): void {
    this.#options.onDialFailed?.(error);
    const why: PoolRefusal = { kind: 'dial', error };
    const [first] = this.#waiting;
    if (this.#dialling === 0) this.#refuseAll(why);
    else if (first !== undefined) {
      this.#waiting.delete(first);
      first.refused(why);
    }
    this.#emptied();
  }

  #serve(entry: Entry): void {
    if (this.#state !== 'open') return;
    while (this.#waiting.size > 0 && entry.connection.free > 0) {
      const [taker] = this.#waiting;
      if (taker === undefined) break;
      this.#waiting.delete(taker);
      taker.taken(entry.connection);
    }
    this.#list(entry);
  }

  #list(entry: Entry): void {
    if (entry.isListed || entry.connection.free <= 0) return;
    entry.isListed = true;
    this.#free.push(entry);
  }

  #closed(entry: Entry): void {
    this.#entries.delete(entry);
    if (this.#free.at(-1) === entry) this.#free.pop();
    else if (entry.isListed) this.#free.splice(this.#free.indexOf(entry), 1);
    entry.isListed = false;
    this.#dialEnough();
    this.#emptied();
  }

  /** Closes what was not used between this look-out and the last but one. */
  readonly #reap = (): void => {
    this.#timer = undefined;
    this.#look += 1;
    for (const entry of [...this.#entries]) {
      if (entry.connection.active > 0) entry.unusedSince = 0;
      else if (entry.unusedSince === 0) entry.unusedSince = this.#look;
      else if (this.#look - entry.unusedSince >= 2) entry.connection.drain();
    }
    if (this.#entries.size > 0) this.#timer = this.#options.clock.setTimer(this.#options.idleMs / 2, this.#reap);
  };

  #refuseAll(why: PoolRefusal): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const taker of waiting) taker.refused(why);
  }

  #emptied(): void {
    if (this.#state !== 'draining' || this.count > 0) return;
    const { onEmpty } = this;
    this.onEmpty = undefined;
    onEmpty?.();
  }
}
