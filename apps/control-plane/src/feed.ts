// One kind of thing as its watchers see it: the latest of each, kept once for all of them; each only keeps what it has yet to send.
import type { Clock } from '@isthmus/runtime';

/** A thing with its key and the store's revision, 0 where it is not kept in the store. */
export type Item = { readonly key: string; readonly document: object; readonly revision: bigint };

/** Where a kind's things are read. `onChange` tells keys that may have changed; without it the list is compared once a second. */
export type Source = {
  readonly list: () => Promise<readonly Item[]>;
  readonly get?: (key: string) => Item | undefined;
  readonly onChange?: (fn: (keys: readonly string[]) => void) => () => void;
  readonly isCurrent: () => boolean;
};

export type Batch = { readonly puts: readonly Item[]; readonly deletes: readonly string[]; readonly state: '' | 'synced' | 'unknown' | 'known' };

/** Things a batch holds at most. */
const BATCH = 200;
const COMPARE_EVERY_MS = 1_000;

/** Watches one kind for any number of watchers; reads nothing while there are none. */
export class Feed {
  readonly #source: Source;
  readonly #clock: Clock;
  readonly #items = new Map<string, { readonly item: Item; readonly text: string | undefined }>();
  readonly #watchers = new Set<Watcher>();
  #running: { readonly stop: () => void; readonly first: Promise<void> } | undefined;
  #isCurrent = true;

  constructor(source: Source, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Everything there is in batches, then `synced`, then changes; ends with the signal. `accepts` chooses by key. */
  async *watch(accepts: (key: string) => boolean, signal: AbortSignal): AsyncGenerator<Batch, void, undefined> {
    const watcher = new Watcher();
    this.#watchers.add(watcher);
    const onAbort = (): void => watcher.wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      this.#running ??= this.#start();
      await this.#running.first;
      watcher.take(Number.POSITIVE_INFINITY); // what changed until here is in what is sent first
      const keys = [...this.#items.keys()].filter(accepts).toSorted();
      for (let at = 0; at < keys.length && !signal.aborted; at += BATCH) {
        yield { puts: keys.slice(at, at + BATCH).flatMap((key) => this.#items.get(key)?.item ?? []), deletes: [], state: '' };
      }
      let told: Batch['state'] = this.#isCurrent ? 'synced' : 'unknown';
      yield { puts: [], deletes: [], state: told };
      while (!signal.aborted) {
        const changed = watcher.take(BATCH).filter(accepts);
        const now = this.#isCurrent ? 'known' : 'unknown';
        const state: Batch['state'] = (now === 'unknown') === (told === 'unknown') ? '' : now;
        if (state !== '') told = state;
        if (changed.length > 0 || state !== '') {
          yield { puts: changed.flatMap((key) => this.#items.get(key)?.item ?? []), deletes: changed.filter((key) => !this.#items.has(key)), state };
        } else if (!watcher.hasMore) await watcher.woken();
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) {
        this.#running?.stop();
        this.#running = undefined;
        this.#items.clear();
      }
    }
  }

  #start(): { readonly stop: () => void; readonly first: Promise<void> } {
    const stopped = new AbortController();
    const unsubscribe = this.#source.onChange?.((keys) => this.#reread(keys));
    const first = this.#compare();
    first.catch(() => undefined);
    void (async () => {
      while (!stopped.signal.aborted) {
        await this.#clock.sleep(COMPARE_EVERY_MS, stopped.signal).catch(() => undefined);
        if (stopped.signal.aborted) return;
        const isCurrent = this.#source.isCurrent();
        if (isCurrent !== this.#isCurrent) {
          this.#isCurrent = isCurrent;
          for (const watcher of this.#watchers) watcher.wake();
        }
        if (this.#source.onChange === undefined) await this.#compare().catch(() => undefined);
      }
    })();
    return { first, stop: () => { stopped.abort(); unsubscribe?.(); } };
  }

  #reread(keys: readonly string[]): void {
    for (const key of keys) {
      const item = this.#source.get?.(key);
      if (item === undefined) this.#items.delete(key);
      else this.#items.set(key, { item, text: undefined });
      for (const watcher of this.#watchers) watcher.add(key);
    }
  }

  async #compare(): Promise<void> {
    const listed = await this.#source.list();
    const isCompared = this.#source.onChange === undefined;
    const seen = new Set<string>();
    for (const item of listed) {
      seen.add(item.key);
      const text = isCompared ? JSON.stringify(item.document, (_key, v: unknown) => (typeof v === 'bigint' ? String(v) : v)) : undefined;
      const before = this.#items.get(item.key);
      if (before !== undefined && before.text === text && isCompared) continue;
      this.#items.set(item.key, { item, text });
      for (const watcher of this.#watchers) watcher.add(item.key);
    }
    for (const key of this.#items.keys()) {
      if (seen.has(key)) continue;
      this.#items.delete(key);
      for (const watcher of this.#watchers) watcher.add(key);
    }
  }
}

/** What one watcher has yet to be told: keys, so that a slow one gets the latest of each and never a growing queue. */
class Watcher {
  readonly #keys = new Set<string>();
  #wake: (() => void) | undefined;

  get hasMore(): boolean {
    return this.#keys.size > 0;
  }

  add(key: string): void {
    this.#keys.add(key);
    this.wake();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  take(count: number): string[] {
    const taken: string[] = [];
    for (const key of this.#keys) {
      if (taken.length === count) break;
      taken.push(key);
      this.#keys.delete(key);
    }
    return taken;
  }

  woken(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
