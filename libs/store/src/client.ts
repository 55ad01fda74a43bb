// The Store over any link: keys with their prefix, values as bytes, etcd's answers in our words.
import { systemRandom } from '@isthmus/runtime';
import { type CallParts, read, write } from './calls.ts';
import { fail } from './errors.ts';
import { KeptLease } from './lease.ts';
import { DEFAULT_PREFIX } from './keys.ts';
import type { ReadLink, StoreLink } from './link.ts';
import { type ListLimits, listWhole, toEntry } from './list.ts';
import { storeMetrics } from './metrics.ts';
import type { Lease, PeerStore, Store, StoreCompare, StoreList, StoreParts, StoreTxn, StoreValue, StoreWrite, WatchEvent, WatchOptions } from './store.ts';
import { watchPrefix, type WatchParts } from './watch.ts';
import { etcd, NO_BYTES, putRequest, rangeRequest, type RequestOp } from './wire.ts';

const MAX_VALUE_BYTES = 1.5 * 1024 * 1024;

/** Everything that only reads. */
export class ReadClient implements PeerStore {
  protected readonly calls: CallParts;
  protected readonly parts: WatchParts;
  readonly #link: ReadLink;
  readonly #limits: ListLimits;
  readonly #closed = new AbortController();

  constructor(link: ReadLink, options: StoreParts, defaults: { readonly maxKeys: number }) {
    const { times, limits, clock, metrics } = options;
    this.#link = link;
    this.#limits = {
      maxValueBytes: limits?.maxValueBytes ?? MAX_VALUE_BYTES,
      maxKeys: limits?.maxKeys ?? defaults.maxKeys,
      pageKeys: limits?.pageKeys ?? 500,
    };
    this.calls = { clock, random: options.random ?? systemRandom, timeoutMs: times?.callTimeoutMs ?? 5000, metrics: storeMetrics(metrics) };
    this.parts = {
      link,
      calls: this.calls,
      log: options.log,
      prefix: options.prefix ?? DEFAULT_PREFIX,
      limits: this.#limits,
      times: {
        watchIdleMs: times?.watchIdleMs ?? 15_000,
        watchDeadlineMs: times?.watchDeadlineMs ?? 5000,
        auditEveryMs: times?.auditEveryMs ?? 600_000,
        backoffBaseMs: times?.backoffBaseMs ?? 50,
        backoffMaxMs: times?.backoffMaxMs ?? 5000,
      },
    };
  }

  async get(key: string): Promise<StoreValue | undefined> {
    this.checkOpen();
    const request = rangeRequest({ key: this.keyBytes(key) });
    const { kvs } = await read(this.calls, 'get', (deadlineMs) => this.#link.range(request, deadlineMs));
    return kvs[0] === undefined ? undefined : toEntry(kvs[0], this.parts.prefix);
  }

  async list(prefix: string): Promise<StoreList> {
    this.checkOpen();
    const { revision, entries } = await listWhole(this.#link, this.calls, this.parts.prefix, prefix, this.#limits);
    return { revision, entries };
  }

  async *watch(prefix: string, options: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
    this.checkOpen();
    yield* watchPrefix(this.parts, prefix, { ...options, signal: AbortSignal.any([options.signal, this.#closed.signal]) });
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    // Watches cut their streams at once, whether their consumer reads on or not.
    this.#closed.abort();
    this.#link.close();
  }

  protected checkOpen(): void {
    if (this.#closed.signal.aborted) throw fail('STORE_CLOSED', 'this client of the store is closed');
  }

  protected keyBytes(key: string): Buffer {
    if (key.length === 0) throw fail('STORE_KEY_INVALID', 'a store key is empty');
    return Buffer.from(this.parts.prefix + key);
  }
}

/** Everything, for the cluster's own store. */
export class StoreClient extends ReadClient implements Store {
  readonly #link: StoreLink;
  readonly #leases = new Set<KeptLease>();

  constructor(link: StoreLink, options: StoreParts) {
    super(link, options, { maxKeys: 100_000 });
    this.#link = link;
  }

  async put(key: string, value: string | Uint8Array, options: { readonly lease?: Lease } = {}): Promise<bigint> {
    this.checkOpen();
    const request = this.#putRequest(key, value, options.lease);
    const { revision } = await this.#fenced([options.lease], () => write(this.calls, 'put', (deadlineMs) => this.#link.put(request, deadlineMs)));
    return revision;
  }

  async delete(key: string): Promise<boolean> {
    this.checkOpen();
    const request = { key: this.keyBytes(key), rangeEnd: NO_BYTES, prevKv: false };
    const { deleted } = await write(this.calls, 'delete', (deadlineMs) => this.#link.deleteRange(request, deadlineMs));
    return deleted > 0n;
  }

  async txn(txn: StoreTxn): Promise<{ readonly ok: boolean; readonly revision: bigint }> {
    this.checkOpen();
    const request = {
      compare: txn.compare.map((compare) => this.#toCompare(compare)),
      success: txn.then.map((one) => this.#toOp(one)),
      failure: (txn.otherwise ?? []).map((one) => this.#toOp(one)),
    };
    const leases = [...txn.then, ...(txn.otherwise ?? [])].map((one) => ('put' in one ? one.put.lease : undefined));
    const compared = txn.compare.map((compare) => ('lease' in compare ? compare.lease : undefined));
    const { succeeded, revision } = await this.#fenced([...leases, ...compared], () =>
      write(this.calls, 'txn', (deadlineMs) => this.#link.txn(request, deadlineMs)),
    );
    return { ok: succeeded, revision };
  }

  async lease(ttlMs: number): Promise<Lease> {
    this.checkOpen();
    const parts = { link: this.#link, calls: this.calls, log: this.parts.log, onEnd: (lease: KeptLease) => this.#leases.delete(lease) };
    const lease = await KeptLease.grant(parts, ttlMs);
    this.#leases.add(lease);
    return lease;
  }

  override async close(): Promise<void> {
    for (const lease of [...this.#leases]) lease.abandon();
    await super.close();
  }

  /** Nothing is sent under a lease known to be lost; and what the server refuses for its lease loses the lease here too. */
  async #fenced<T>(leases: readonly (Lease | undefined)[], send: () => Promise<T>): Promise<T> {
    const held = leases.filter((lease) => lease !== undefined);
    const dead = held.find((lease) => !lease.alive);
    if (dead !== undefined) throw fail('STORE_LEASE_LOST', 'the lease of this write is lost', { facts: { lease: dead.id } });
    try {
      return await send();
    } catch (error) {
      if ((error as { code?: unknown }).code === 'STORE_LEASE_LOST') {
        // With several leases it is not said which; each finds out by its next keep-alive.
        if (held.length === 1 && held[0] instanceof KeptLease) held[0].lose('the store refused a write under it');
      }
      throw error;
    }
  }

  #putRequest(key: string, value: string | Uint8Array, lease: Lease | undefined): etcd.PutRequest {
    const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return putRequest({ key: this.keyBytes(key), value: bytes, lease: lease?.id ?? 0n });
  }

  #toOp(one: StoreWrite): RequestOp {
    if ('put' in one) return { request: { $case: 'requestPut', value: this.#putRequest(one.put.key, one.put.value, one.put.lease) } };
    return { request: { $case: 'requestDeleteRange', value: { key: this.keyBytes(one.delete.key), rangeEnd: NO_BYTES, prevKv: false } } };
  }

  #toCompare(compare: StoreCompare): etcd.Compare {
    const key = this.keyBytes(compare.key);
    const base = { key, rangeEnd: NO_BYTES, result: Result.EQUAL };
    if ('modRevision' in compare) return { ...base, target: Target.MOD, targetUnion: { $case: 'modRevision', value: compare.modRevision } };
    if ('lease' in compare) return { ...base, target: Target.LEASE, targetUnion: { $case: 'lease', value: compare.lease.id } };
    const result = compare.exists ? Result.GREATER : Result.EQUAL;
    return { ...base, result, target: Target.CREATE, targetUnion: { $case: 'createRevision', value: 0n } };
  }
}

const { Compare_CompareResult: Result, Compare_CompareTarget: Target } = etcd;
