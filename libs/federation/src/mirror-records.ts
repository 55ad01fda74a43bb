// The mirror's writing in the own store, beside the path: for restarts and replicas, never waited for.
import { messageOf } from '@isthmus/model';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Store } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';

const PARALLEL_WRITES = 16;
const CLOSE_LIMIT_MS = 2_000;

/** Write-behind of plain keys: the newest wish of each key is written, again after a failure. **Bounds** one entry a key. */
export class MirrorRecords {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #dirty = new Map<string, string | undefined>();
  #running: Promise<void> | undefined;

  constructor(options: { readonly store: Store; readonly clock: Clock; readonly random: Random; readonly log: Log }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
  }

  /** Wants `value` under `key`, or nothing there. */
  set(key: string, value: string | undefined): void {
    if (this.#stop.signal.aborted) return;
    this.#dirty.set(key, value);
    this.#running ??= this.#write().finally(() => {
      this.#running = undefined;
    });
  }

  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async close(): Promise<void> {
    const limit = this.#clock.setTimer(CLOSE_LIMIT_MS, () => this.#stop.abort());
    await this.settled();
    limit.cancel();
    this.#stop.abort();
  }

  async #write(): Promise<void> {
    const pause = backoff({ baseMs: 100, maxMs: 5_000, random: this.#random });
    await Promise.resolve();
    while (this.#dirty.size > 0 && !this.#stop.signal.aborted) {
      const batch = [...this.#dirty].slice(0, PARALLEL_WRITES);
      for (const [key] of batch) this.#dirty.delete(key);
      const results = await Promise.allSettled(batch.map(([key, value]) => (value === undefined ? this.#store.delete(key) : this.#store.put(key, value))));
      const failed = results.flatMap((r, i) => (r.status === 'rejected' ? [{ wish: batch[i], reason: r.reason as unknown }] : []));
      if (failed.length === 0) {
        pause.reset();
        continue;
      }
      // A newer wish that came meanwhile stands.
      for (const { wish } of failed) if (wish !== undefined && !this.#dirty.has(wish[0])) this.#dirty.set(wish[0], wish[1]);
      this.#log.warn('mirror not written, will try again', { count: failed.length, error: messageOf(failed[0]?.reason) });
      await this.#clock.sleep(pause.nextMs(), this.#stop.signal).catch(() => undefined);
    }
  }
}
