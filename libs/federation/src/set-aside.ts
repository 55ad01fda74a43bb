// Records of one peer that are not taken, with the reason of each, and the bytes of those that may be taken later.
import type { Counter, Log } from '@isthmus/telemetry';

const MAX_SET_ASIDE = 1_000;

type Aside = { readonly reason: string; readonly bytes: Uint8Array | undefined };

/** **Bounds** 1,000 records; what is over is counted and reported, and not looked at again. */
export class SetAside {
  readonly #cluster: string;
  readonly #refusals: Counter;
  readonly #log: Log;
  readonly #records = new Map<string, Aside>();
  #lastReason: string | undefined;

  constructor({ cluster, refusals, log }: { readonly cluster: string; readonly refusals: Counter; readonly log: Log }) {
    this.#cluster = cluster;
    this.#refusals = refusals;
    this.#log = log;
  }

  get size(): number {
    return this.#records.size;
  }

  get lastReason(): string | undefined {
    return this.#lastReason;
  }

  keys(): readonly string[] {
    return [...this.#records.keys()];
  }

  /** `bytes` of a record that may be good once bundles change. The same reason again is counted, and logged once. */
  add(key: string, reason: string, detail: string, bytes: Uint8Array | undefined): void {
    const text = `${key}: ${reason}: ${detail}`;
    const isNew = this.#records.get(key)?.reason !== text;
    this.#lastReason = text;
    this.#refusals.inc({ source_cluster: this.#cluster, reason });
    if (this.#records.size < MAX_SET_ASIDE || this.#records.has(key)) this.#records.set(key, { reason: text, bytes });
    if (isNew) this.#log.warn('record of a peer set aside', { key, reason, detail });
  }

  delete(key: string): void {
    this.#records.delete(key);
  }

  /** Takes out and gives those that may be good by now. */
  takeRetriable(): readonly { readonly key: string; readonly bytes: Uint8Array }[] {
    const found = [...this.#records].flatMap(([key, { bytes }]) => (bytes === undefined ? [] : [{ key, bytes }]));
    for (const { key } of found) this.#records.delete(key);
    return found;
  }
}
