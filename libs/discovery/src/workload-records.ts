// The registry's writing in the store: leased workload keys, brought to what is wanted beside the path of every change.
import { messageOf } from '@isthmus/model';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Lease, Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';

/** etcd suffers from thousands of keys on one lease (etcd-io/etcd#15993). */
const KEYS_PER_LEASE = 500;
/**
 * How long records outlive a control plane that died. Long, because they are only read by its successor, which gives
 * every agent a grace period of its own: a short one would turn a long outage into an empty cluster (facts U2).
 */
const LEASE_TTL_MS = 1_800_000;
const PARALLEL_WRITES = 16;
const CLOSE_LIMIT_MS = 2_000;

type LeaseSlot = { readonly keys: Set<string>; lease: Promise<Lease> | undefined };

/**
 * Write-behind of leased keys: `put` and `delete` say what is wanted and return at once; one loop writes the newest
 * wish of each key, again after a failure and again when a lease was lost. **Bounds** one entry a key; 16 writes at once.
 */
export class WorkloadRecords {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #pending;
  readonly #failures;
  readonly #stop = new AbortController();
  readonly #wanted = new Map<string, string>();
  readonly #dirty = new Set<string>();
  readonly #slots = new Set<LeaseSlot>();
  readonly #slotOf = new Map<string, LeaseSlot>();
  #running: Promise<void> | undefined;

  constructor(options: { readonly store: Store; readonly clock: Clock; readonly random: Random; readonly log: Log; readonly metrics: Metrics }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
    this.#pending = options.metrics.gauge('isthmus_registry_pending_writes', 'Workload records that wait to be written to the store');
    this.#failures = options.metrics.counter('isthmus_registry_write_failures_total', 'Writes of workload records the store did not take');
  }

  put(key: string, value: string): void {
    this.#wanted.set(key, value);
    this.#mark(key);
  }

  delete(key: string): void {
    this.#wanted.delete(key);
    this.#mark(key);
  }

  /** Resolves when everything wanted so far is written, for tests and for closing. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Writes what is left within a limit. Keys stay for the next control plane; their leases end with the store's client. */
  async close(): Promise<void> {
    const limit = this.#clock.setTimer(CLOSE_LIMIT_MS, () => this.#stop.abort());
    await this.settled();
    limit.cancel();
    this.#stop.abort();
  }

  #mark(key: string): void {
    if (this.#stop.signal.aborted) return;
    this.#dirty.add(key);
    this.#pending.set(this.#dirty.size);
    this.#running ??= this.#write().finally(() => {
      this.#running = undefined;
    });
  }

  async #write(): Promise<void> {
    const pause = backoff({ baseMs: 100, maxMs: 5_000, random: this.#random });
    // One turn later, so that the reports of one tick are written as one.
    await Promise.resolve();
    while (this.#dirty.size > 0 && !this.#stop.signal.aborted) {
      const batch = [...this.#dirty].slice(0, PARALLEL_WRITES);
      for (const key of batch) this.#dirty.delete(key);
      const results = await Promise.allSettled(batch.map((key) => this.#writeOne(key)));
      const failed = results.flatMap((r, i) => (r.status === 'rejected' ? [{ key: batch[i] as string, reason: r.reason as unknown }] : []));
      this.#pending.set(this.#dirty.size + failed.length);
      if (failed.length === 0) {
        pause.reset();
        continue;
      }
      for (const { key } of failed) this.#dirty.add(key);
      this.#failures.inc({}, failed.length);
      this.#log.warn('workload records not written, will try again', { count: failed.length, error: messageOf(failed[0]?.reason) });
      await this.#clock.sleep(pause.nextMs(), this.#stop.signal).catch(() => undefined);
    }
  }

  async #writeOne(key: string): Promise<void> {
    const value = this.#wanted.get(key);
    if (value === undefined) {
      await this.#store.delete(key);
      this.#leaveSlot(key);
      return;
    }
    const slot = this.#slotFor(key);
    slot.lease ??= this.#grant(slot);
    await this.#store.put(key, value, { lease: await slot.lease });
  }

  #slotFor(key: string): LeaseSlot {
    const held = this.#slotOf.get(key);
    if (held !== undefined) return held;
    const free = [...this.#slots].find((s) => s.keys.size < KEYS_PER_LEASE);
    const slot = free ?? { keys: new Set<string>(), lease: undefined };
    this.#slots.add(slot);
    slot.keys.add(key);
    this.#slotOf.set(key, slot);
    return slot;
  }

  #leaveSlot(key: string): void {
    this.#slotOf.get(key)?.keys.delete(key);
    this.#slotOf.delete(key);
  }

  /** A new lease for a slot, with jitter so that leases do not end together; a lost one has its keys written anew. */
  #grant(slot: LeaseSlot): Promise<Lease> {
    const granted = this.#store.lease(Math.round(LEASE_TTL_MS * (0.9 + 0.2 * this.#random())));
    granted.then(
      (lease) =>
        lease.onLost(() => {
          if (slot.lease === granted) slot.lease = undefined;
          if (this.#stop.signal.aborted) return;
          this.#log.warn('lease of workload records lost, writing them anew', { keys: slot.keys.size });
          for (const key of slot.keys) this.#mark(key);
        }),
      () => {
        if (slot.lease === granted) slot.lease = undefined;
      },
    );
    return granted;
  }
}
