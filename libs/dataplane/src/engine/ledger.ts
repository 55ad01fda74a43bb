// What a relay counts, in plain objects of one thread: no locks, and deltas that can be posted to another thread.
import type { RelayEnd, RelayRefusal } from './engine.ts';

/** Upper bounds of the buckets of connection durations, in milliseconds; one more bucket holds what lasted longer. */
export const DURATION_BOUNDS_MS: readonly number[] = [10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000];

/** Everything counted at one endpoint of one service since the last drain. Bytes are added by whoever relays them, as they go. */
export type Account = {
  readonly service: string;
  readonly endpoint: string;
  /** From callers to the endpoint, their hellos included; PROXY headers are not counted. */
  bytesIn: number;
  /** From the endpoint to callers. */
  bytesOut: number;
  /** Connections opened less connections closed. */
  openChange: number;
  connectFailures: number;
};

/** What ended for one service since the last drain. */
export type ServiceEnds = {
  readonly ends: Partial<Record<RelayEnd, number>>;
  /** How many connections lasted so long, by `DURATION_BOUNDS_MS` and one beyond. */
  readonly durations: number[];
  /** The durations of each bucket summed up. */
  readonly durationSumsMs: number[];
};

/** Changes since the drain before. Plain data: it survives structured cloning, and two are merged by adding. */
export type LedgerDelta = {
  readonly accounts: readonly Account[];
  readonly services: ReadonlyMap<string, ServiceEnds>;
  readonly refused: Partial<Record<RelayRefusal, number>>;
};

/** An endpoint's account together with the connections it has open now. Kept by a connection while it is open. */
export type OpenAccount = Account & { open: number };

/**
 * The counts of one thread. A connection calls `opened` before it dials, then either `connectFailed` or `closed`, and adds
 * to the account's `bytesIn` and `bytesOut` in between: a long connection shows its bytes while it lasts. **Bounds** the
 * endpoints and services connected to since the last drain, and those with connections open.
 */
export class Ledger {
  readonly #services = new Map<string, Map<string, OpenAccount>>();
  #ends = new Map<string, ServiceEnds>();
  /** What was asked for last, which nearly always comes again. Undefined after a drain. */
  #lastAccount: OpenAccount | undefined;
  #lastEnds: ServiceEnds | undefined;
  #lastEndsService = '';
  #refused: Partial<Record<RelayRefusal, number>> = {};

  /** Counts a connection as one of the endpoint's from the moment it is dialled. */
  opened(service: string, endpoint: string): OpenAccount {
    const account = this.#known(service, endpoint) ?? this.#newAccount(service, endpoint);
    account.open += 1;
    account.openChange += 1;
    return account;
  }

  #known(service: string, endpoint: string): OpenAccount | undefined {
    const last = this.#lastAccount;
    if (last !== undefined && last.endpoint === endpoint && last.service === service) return last;
    const account = this.#services.get(service)?.get(endpoint);
    if (account !== undefined) this.#lastAccount = account;
    return account;
  }

  #newAccount(service: string, endpoint: string): OpenAccount {
    let accounts = this.#services.get(service);
    if (accounts === undefined) this.#services.set(service, (accounts = new Map()));
    const account = { service, endpoint, bytesIn: 0, bytesOut: 0, openChange: 0, connectFailures: 0, open: 0 };
    accounts.set(endpoint, account);
    return account;
  }

  /** The dial came to nothing; the caller may try another endpoint. */
  connectFailed(account: OpenAccount): void {
    account.open -= 1;
    account.openChange -= 1;
    account.connectFailures += 1;
  }

  /** A dialled connection is over. `durationMs` counts from its accept. */
  closed(account: OpenAccount, end: RelayEnd, durationMs: number): void {
    account.open -= 1;
    account.openChange -= 1;
    this.ended(account.service, end, durationMs);
  }

  /** A connection for a service is over and holds no endpoint: `unreachable` and `overloaded`. */
  ended(service: string, end: RelayEnd, durationMs: number): void {
    const known = this.#lastEndsService === service ? this.#lastEnds : undefined;
    const ends = known ?? endsOf(this.#ends, service);
    this.#lastEnds = ends;
    this.#lastEndsService = service;
    ends.ends[end] = (ends.ends[end] ?? 0) + 1;
    const bucket = bucketOf(durationMs);
    ends.durations[bucket] = (ends.durations[bucket] ?? 0) + 1;
    ends.durationSumsMs[bucket] = (ends.durationSumsMs[bucket] ?? 0) + durationMs;
  }

  refused(reason: RelayRefusal): void {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1;
  }

  /** Connections this thread has open to an endpoint, dials among them. */
  connectionsOf(service: string, endpoint: string): number {
    return this.#known(service, endpoint)?.open ?? 0;
  }

  /** Gives what changed since the last call, or undefined when nothing did; forgets accounts nobody holds. */
  drain(): LedgerDelta | undefined {
    this.#lastAccount = undefined;
    const accounts: Account[] = [];
    for (const [service, byEndpoint] of this.#services) {
      for (const [endpoint, account] of byEndpoint) {
        if (hasChanged(account)) {
          const { bytesIn, bytesOut, openChange, connectFailures } = account;
          accounts.push({ service, endpoint, bytesIn, bytesOut, openChange, connectFailures });
          account.bytesIn = account.bytesOut = account.openChange = account.connectFailures = 0;
        }
        if (account.open === 0) byEndpoint.delete(endpoint);
      }
      if (byEndpoint.size === 0) this.#services.delete(service);
    }
    const delta: LedgerDelta = { accounts, services: this.#ends, refused: this.#refused };
    if (accounts.length === 0 && delta.services.size === 0 && Object.keys(delta.refused).length === 0) return undefined;
    this.#ends = new Map();
    this.#lastEnds = undefined;
    this.#refused = {};
    return delta;
  }
}

function hasChanged(account: Account): boolean {
  return account.bytesIn !== 0 || account.bytesOut !== 0 || account.openChange !== 0 || account.connectFailures !== 0;
}

function endsOf(all: Map<string, ServiceEnds>, service: string): ServiceEnds {
  let ends = all.get(service);
  if (ends === undefined) {
    const zeros = (): number[] => Array.from({ length: DURATION_BOUNDS_MS.length + 1 }, () => 0);
    all.set(service, (ends = { ends: {}, durations: zeros(), durationSumsMs: zeros() }));
  }
  return ends;
}

function bucketOf(durationMs: number): number {
  let at = 0;
  while (durationMs > (DURATION_BOUNDS_MS[at] ?? Infinity)) at += 1;
  return at;
}

/** Two deltas as one, of one thread after another or of two threads. Pure. */
export function mergeDeltas(a: LedgerDelta, b: LedgerDelta): LedgerDelta {
  const accounts = new Map<string, Account>();
  const services = new Map<string, ServiceEnds>();
  const refused: Partial<Record<RelayRefusal, number>> = {};
  for (const delta of [a, b]) {
    for (const account of delta.accounts) {
      const key = `${account.service} ${account.endpoint}`;
      const sum = accounts.get(key);
      accounts.set(key, sum === undefined ? { ...account } : addAccounts(sum, account));
    }
    for (const [service, more] of delta.services) addEnds(endsOf(services, service), more);
    for (const [reason, count] of Object.entries(delta.refused) as [RelayRefusal, number][]) refused[reason] = (refused[reason] ?? 0) + count;
  }
  return { accounts: [...accounts.values()], services, refused };
}

function addAccounts(a: Account, b: Account): Account {
  return {
    service: a.service,
    endpoint: a.endpoint,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    openChange: a.openChange + b.openChange,
    connectFailures: a.connectFailures + b.connectFailures,
  };
}

function addEnds(sum: ServiceEnds, more: ServiceEnds): void {
  for (const [end, count] of Object.entries(more.ends) as [RelayEnd, number][]) sum.ends[end] = (sum.ends[end] ?? 0) + count;
  for (const [i, count] of more.durations.entries()) sum.durations[i] = (sum.durations[i] ?? 0) + count;
  for (const [i, sumMs] of more.durationSumsMs.entries()) sum.durationSumsMs[i] = (sum.durationSumsMs[i] ?? 0) + sumMs;
}
