// What the cluster store is to the rest of the system: words only, no client.
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Clock, Random } from '@isthmus/runtime';

/** A key with its value and the numbers etcd keeps about it. Keys are relative to the store's prefix. */
export interface StoreEntry {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  /** 1 for a new key, growing with each put, starting again after a delete. */
  readonly version: bigint;
  /** 0 without a lease. */
  readonly leaseId: bigint;
}
export type StoreValue = StoreEntry;

/** All of a prefix at one revision. */
export interface StoreList {
  readonly revision: bigint;
  readonly entries: StoreEntry[];
}

/** What must hold for a transaction's `then` to be done. `lease` asks that the key is held by this very lease. */
export type StoreCompare =
  | { readonly key: string; readonly modRevision: bigint }
  | { readonly key: string; readonly exists: boolean }
  | { readonly key: string; readonly lease: Lease };

/** One write of a transaction. */
export type StoreWrite =
  | { readonly put: { readonly key: string; readonly value: string | Uint8Array; readonly lease?: Lease } }
  | { readonly delete: { readonly key: string } };

export interface StoreTxn {
  readonly compare: readonly StoreCompare[];
  readonly then: readonly StoreWrite[];
  readonly otherwise?: readonly StoreWrite[];
}

/** A lease this process keeps alive. It is lost for good once it is lost. */
export interface Lease {
  readonly id: bigint;
  readonly ttlMs: number;
  /**
   * False as soon as the server said the lease is gone, or this machine's monotonic clock passed the TTL since the
   * last keep-alive that was answered (counted from when it was sent): so a process that was stopped for longer than
   * the TTL finds its lease lost before it acts on it.
   */
  readonly alive: boolean;
  /** Calls `fn` once when the lease is lost (at once if it is lost already); not called for `revoke`. Returns an unsubscribe. */
  onLost(fn: () => void): () => void;
  /** Gives the lease back; all its keys are deleted. Never throws: a lease that cannot be revoked runs out. */
  revoke(): Promise<void>;
}

/**
 * What a watch tells, in order.
 * - `snapshot`: the whole prefix at one revision. It comes first, and again only with `reason: 'restored'` when the
 *   store turned out to be another one than before (its revision went back, or its cluster id changed).
 * - `put`, `delete`: later changes. `modRevision` grows for each key: an old event is never delivered again.
 * - `unknown`: cut off since `sinceMs`; what was told so far may be out of date but is not withdrawn.
 * - `known`: caught up again; everything missed was delivered before it (after a compaction as made-up puts and deletes).
 */
export type WatchEvent =
  | { readonly kind: 'snapshot'; readonly reason: 'first' | 'restored'; readonly entries: readonly StoreEntry[]; readonly revision: bigint }
  | { readonly kind: 'put'; readonly key: string; readonly value: Buffer; readonly modRevision: bigint; readonly leaseId: bigint }
  | { readonly kind: 'delete'; readonly key: string; readonly modRevision: bigint }
  | { readonly kind: 'unknown'; readonly sinceMs: number }
  | { readonly kind: 'known' };

export interface WatchOptions {
  /** Ends the watch; the iteration then ends without an error. */
  readonly signal: AbortSignal;
  /** Told at once, even while the consumer of the iteration is busy. */
  readonly onState?: (state: 'known' | 'unknown') => void;
}

/** The cluster store. All methods may be called at any time and by anybody; after `close` they throw STORE_CLOSED. */
export interface Store {
  /** **Throws** STORE_UNAVAILABLE, STORE_DENIED. Linearizable; retried within the call's time limit. */
  get(key: string): Promise<StoreValue | undefined>;
  /** All keys below `prefix`, sorted, at one revision however many pages it took. **Throws** STORE_UNAVAILABLE, STORE_COMPACTED, STORE_DENIED. */
  list(prefix: string): Promise<StoreList>;
  /**
   * The revision of the write. **Throws** STORE_UNAVAILABLE (certainly not written), STORE_OUTCOME_UNKNOWN (sent, no
   * answer), STORE_LEASE_LOST, STORE_TOO_LARGE, STORE_FULL (etcd may have taken it), STORE_DENIED.
   */
  put(key: string, value: string | Uint8Array, options?: { readonly lease?: Lease }): Promise<bigint>;
  /** Whether there was such a key. **Throws** as `put`. */
  delete(key: string): Promise<boolean>;
  /** All or nothing; `ok` says whether the compares held. **Throws** as `put`. **Bounds** 128 operations in each part. */
  txn(txn: StoreTxn): Promise<{ readonly ok: boolean; readonly revision: bigint }>;
  /** **Throws** as `put`. **Bounds** etcd keeps whole seconds: the TTL is rounded up, at least one second. */
  lease(ttlMs: number): Promise<Lease>;
  /** See WatchEvent. Never throws for a store that is away; throws STORE_DENIED. One consumer; nothing is read ahead of it beyond a bound. */
  watch(prefix: string, options: WatchOptions): AsyncIterable<WatchEvent>;
  /** Ends watches and keep-alives (leases run out on their own). Idempotent. */
  close(): Promise<void>;
}

/** What a reader of another cluster's store has. */
export type PeerStore = Pick<Store, 'get' | 'list' | 'watch' | 'close'>;

/** How the client behaves; every field has a default fit for production. */
export interface StoreTimes {
  /** Limit of one call, retries and all. 5 s. */
  readonly callTimeoutMs?: number;
  /** A watch that has been silent for so long asks for a progress report. 15 s. */
  readonly watchIdleMs?: number;
  /** A watch that does not answer for so long after asking is cut and opened anew. 5 s. */
  readonly watchDeadlineMs?: number;
  /** A watch compares what it told with a fresh list this often. 10 min. */
  readonly auditEveryMs?: number;
  /** Full-jitter backoff between reconnects. 50 ms to 5 s. */
  readonly backoffBaseMs?: number;
  readonly backoffMaxMs?: number;
}

/** Bounds on what is taken from the other side; what is over them is skipped and counted. */
export interface StoreLimits {
  /** 1.5 MiB: etcd's own limit on a request. */
  readonly maxValueBytes?: number;
  /** Keys below one watched or listed prefix. 100,000; for a peer's store 10,000. */
  readonly maxKeys?: number;
  /** Keys a page of a list asks for. 500. */
  readonly pageKeys?: number;
}

export interface StoreParts {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random?: Random;
  readonly times?: StoreTimes;
  readonly limits?: StoreLimits;
  /** Default `/isthmus/v1/`. */
  readonly prefix?: string;
}
