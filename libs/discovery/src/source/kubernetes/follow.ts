// One kind of object in one place, followed: listed whole, then watched; what was known stays through every failure.
import { formatProblems, IsthmusError, messageOf, type Parsed } from '@isthmus/model';
import { type Clock, type Random, retryForever } from '@isthmus/runtime';
import type { Counter, Gauge, Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../../errors.ts';
import type { KubernetesApi } from './api.ts';
import { keyOfUnread, type ObjectFacts } from './objects.ts';

/** What is followed: the path of its list for a namespace (all without one), and how an object of it is read. */
export type FollowedKind<T> = {
  readonly plural: string;
  readonly path: (namespace: string | undefined) => string;
  readonly parse: (input: unknown) => Parsed<T>;
};

export type FollowOptions<T> = {
  readonly api: KubernetesApi;
  readonly kind: FollowedKind<T>;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly onChange: (changed: readonly string[]) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: FollowMetrics;
  readonly maxObjects?: number | undefined;
  readonly pageCount?: number | undefined;
  readonly backoffMs?: { readonly base: number; readonly max: number } | undefined;
};

/** `unknown` until the first whole list; then what is known stays, and `current` says whether a watch stands now. */
export type FollowState = { readonly kind: 'unknown' } | { readonly kind: 'known'; readonly current: boolean; readonly heardAtMs: number };

export interface Followed<T> {
  readonly items: ReadonlyMap<string, T>;
  state(): FollowState;
  /** Why it is not current; undefined while it is. */
  problem(): string | undefined;
  /** Objects that could not be read, with the reason; of one that could be read before, the last good form stays. */
  refused(): ReadonlyMap<string, string>;
  close(): Promise<void>;
}

const DEFAULT_MAX_OBJECTS = 50_000;
const PAGE_COUNT = 500;
const MAX_PAGES = 1_000;
/** A watch ends by itself after about five minutes, so that those of many do not end together and a dead one is noticed. */
const WATCH_SECONDS = 290;
const BACKOFF_MS = { base: 250, max: 30_000 };

export type FollowMetrics = ReturnType<typeof followMetrics>;

/** The metrics of all followed kinds of a process; declared once. */
export function followMetrics(metrics: Metrics): { readonly objects: Gauge; readonly refused: Gauge; readonly heard: Gauge; readonly lists: Counter; readonly failures: Counter } {
  return {
    objects: metrics.gauge('isthmus_kubernetes_objects', 'Kubernetes objects known, by resource and namespace (empty: all)', ['resource', 'namespace']),
    refused: metrics.gauge('isthmus_kubernetes_objects_refused', 'Kubernetes objects that cannot be read and are set aside', ['resource', 'namespace']),
    heard: metrics.gauge('isthmus_kubernetes_heard_seconds', 'Unix time at which the API server was last heard of a resource; what is known is that old', ['resource', 'namespace']),
    lists: metrics.counter('isthmus_kubernetes_lists_total', 'Whole lists taken from the API server', ['resource', 'namespace']),
    failures: metrics.counter('isthmus_kubernetes_failures_total', 'Lists and watches that failed, by reason', ['resource', 'reason']),
  };
}

/** Follows from now on; never waits for the API server. **Bounds** `maxObjects`; beyond them the last known state stays. */
export function follow<T extends ObjectFacts>(options: FollowOptions<T>): Followed<T> {
  return new Follower(options);
}

class Follower<T extends ObjectFacts> implements Followed<T> {
  readonly #options: FollowOptions<T>;
  readonly #path: string;
  readonly #labels: { readonly resource: string; readonly namespace: string };
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #items = new Map<string, T>();
  #refused = new Map<string, string>();
  #version = '';
  #isKnown = false;
  #isCurrent = false;
  #heardAtMs = 0;
  #problem: string | undefined = 'not asked yet';
  /** Paged lists whose later pages are forgotten half-way are asked for whole the next time. */
  #isPaged = true;

  constructor(options: FollowOptions<T>) {
    this.#options = options;
    this.#path = options.kind.path(options.namespace);
    this.#labels = { resource: options.kind.plural, namespace: options.namespace ?? '' };
    const { base, max } = options.backoffMs ?? BACKOFF_MS;
    this.#running = retryForever({
      clock: options.clock,
      backoff: { baseMs: base, maxMs: max, random: options.random },
      signal: this.#stop.signal,
      attempt: () => this.#attempt(),
      onError: (error, waitMs) => this.#failed(error, waitMs),
    });
  }

  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  state(): FollowState {
    return this.#isKnown ? { kind: 'known', current: this.#isCurrent, heardAtMs: this.#heardAtMs } : { kind: 'unknown' };
  }

  problem(): string | undefined {
    return this.#isCurrent ? undefined : this.#problem;
  }

  refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('closed'));
    await this.#running;
  }

  /** One list where the place in history is lost, then one watch; returns when the server ends the watch as agreed. */
  async #attempt(): Promise<void> {
    if (this.#version === '') await this.#list();
    try {
      await this.#watch();
    } catch (error) {
      // Any answer but events may mean that the place is lost, also a version that is newer than a store put back from a backup.
      if (!keepsPlace(error)) this.#version = '';
      throw error;
    } finally {
      this.#isCurrent = false;
    }
  }

  /** Reads everything first, and only then lets it take the place of what was known: half a list removes nothing. */
  async #list(): Promise<void> {
    const { api, kind, maxObjects = DEFAULT_MAX_OBJECTS, pageCount = PAGE_COUNT, labelSelector } = this.#options;
    const items = new Map<string, T>();
    const refused = new Map<string, string>();
    const paged = this.#isPaged;
    this.#isPaged = true;
    let next = '';
    let version = '';
    for (let page = 0; page === 0 || next !== ''; page += 1) {
      if (page >= MAX_PAGES) throw fail('DISCOVERY_KUBERNETES_ANSWER', `${this.#path}: the list does not end after ${MAX_PAGES} pages`);
      // Without a resourceVersion the answer is the newest there is, so no older one is ever taken after a newer one.
      const query = { ...(paged && { limit: pageCount }), ...(next !== '' && { continue: next }), ...(labelSelector !== undefined && { labelSelector }) };
      const got = await api.list(this.#path, query, this.#stop.signal).catch((error: unknown) => {
        if (page > 0 && error instanceof IsthmusError && error.code === 'DISCOVERY_KUBERNETES_GONE') this.#isPaged = false;
        throw error;
      });
      for (const input of got.items) this.#read(kind, input, items, refused);
      if (items.size + refused.size > maxObjects) throw fail('DISCOVERY_KUBERNETES_TOO_MANY', `${this.#path}: more than ${maxObjects} objects`, { hint: 'name the namespaces to follow' });
      next = got.next;
      version = got.resourceVersion;
    }
    for (const [key] of refused) {
      const lastGood = this.#items.get(key);
      if (lastGood !== undefined) items.set(key, lastGood);
    }
    const changed = [...new Set([...this.#items.keys(), ...items.keys()])].filter((key) => this.#items.get(key)?.resourceVersion !== items.get(key)?.resourceVersion);
    this.#items = items;
    this.#refused = refused;
    this.#version = version;
    const isFirst = !this.#isKnown;
    this.#isKnown = true;
    this.#options.metrics.lists.inc(this.#labels);
    this.#heard();
    this.#options.log.info('kubernetes objects listed', { ...this.#labels, count: items.size, changed: changed.length, refused: refused.size });
    if (changed.length > 0 || isFirst) this.#options.onChange(changed);
  }

  async #watch(): Promise<void> {
    const { api, kind, labelSelector, random, maxObjects = DEFAULT_MAX_OBJECTS } = this.#options;
    const timeoutSeconds = Math.round(WATCH_SECONDS * (0.9 + 0.2 * random()));
    const query = { resourceVersion: this.#version, timeoutSeconds, ...(labelSelector !== undefined && { labelSelector }) };
    const opened = (): void => {
      this.#isCurrent = true;
      this.#problem = 'the watch ended';
      this.#heard();
    };
    for await (const event of api.watch(this.#path, query, this.#stop.signal, opened)) {
      if (event.kind === 'error') continue; // thrown by the client
      if (event.kind === 'put') {
        const key = this.#read(kind, event.object, this.#items, this.#refused);
        if (this.#items.size > maxObjects) throw fail('DISCOVERY_KUBERNETES_TOO_MANY', `${this.#path}: more than ${maxObjects} objects`, { hint: 'name the namespaces to follow' });
        if (key !== undefined) this.#options.onChange([key]);
      } else if (event.kind === 'delete') {
        const key = keyOfUnread(event.object);
        this.#refused.delete(key);
        if (this.#items.delete(key)) this.#options.onChange([key]);
      }
      this.#version = event.version;
      this.#heard();
    }
  }

  /** Takes one object; its key when it is new or another than before. One that cannot be read changes nothing but the count of those. */
  #read(kind: FollowedKind<T>, input: unknown, into: Map<string, T>, refused: Map<string, string>): string | undefined {
    const read = kind.parse(input);
    if (!read.ok) {
      const key = keyOfUnread(input);
      const reason = formatProblems(read.problems).slice(0, 500);
      if (refused.get(key) !== reason) this.#options.log.warn('kubernetes object cannot be read, set aside', { ...this.#labels, key, reason });
      refused.set(key, reason);
      return undefined;
    }
    const { key, resourceVersion } = read.value;
    refused.delete(key);
    if (into.get(key)?.resourceVersion === resourceVersion) return undefined;
    into.set(key, read.value);
    return key;
  }

  #heard(): void {
    const { clock, metrics } = this.#options;
    this.#heardAtMs = clock.nowMs();
    metrics.heard.set(Math.floor(this.#heardAtMs / 1_000), this.#labels);
    metrics.objects.set(this.#items.size, this.#labels);
    metrics.refused.set(this.#refused.size, this.#labels);
  }

  #failed(error: unknown, waitMs: number): void {
    const { log, metrics, kind } = this.#options;
    const reason = error instanceof IsthmusError ? error.code : 'internal';
    this.#problem = messageOf(error);
    metrics.failures.inc({ resource: kind.plural, reason });
    log.warn('kubernetes cannot be followed, what is known stays', { ...this.#labels, code: reason, error: messageOf(error), waitMs: Math.round(waitMs), known: this.#items.size });
  }
}

/** A link that broke loses no place in history, nor does "come again later". */
function keepsPlace(error: unknown): boolean {
  return error instanceof IsthmusError && error.code === 'DISCOVERY_KUBERNETES_AWAY' && (error.facts['status'] === undefined || error.facts['status'] === 429);
}
