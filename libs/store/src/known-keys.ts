// What a watch has told so far: enough to tell new from old, and to make up what was missed from a fresh list. Pure.
import type { WholeList } from './list.ts';
import type { StoreEntry, WatchEvent } from './store.ts';

export type Change = Extract<WatchEvent, { kind: 'put' | 'delete' }>;

/** One event as the store sent it, with its key relative to the store's prefix. */
export type RawEvent = { readonly kind: 'put'; readonly entry: StoreEntry } | { readonly kind: 'delete'; readonly key: string; readonly modRevision: bigint };

export type Taken =
  | { readonly kind: 'new'; readonly change: Change }
  /** Told before: a delivery at the edge of a list or of a reconnect, where it is expected. */
  | { readonly kind: 'told' }
  /** Out of order: etcd promises this does not happen (etcd issues 15271 and 20221 are cases where it did). */
  | { readonly kind: 'old' }
  | { readonly kind: 'skipped'; readonly reason: 'value' | 'keys' };

export class KnownKeys {
  readonly #maxKeys: number;
  readonly #maxValueBytes: number;
  #modRevisions = new Map<string, bigint>();
  #clusterId = 0n;
  /** Everything up to here is in the last list. */
  #listRevision = 0n;
  /** The revision of the newest event. */
  #eventRevision = 0n;
  /** A key that history must still have as we saw it; proves after a cut that this is the same history. */
  #witness: { readonly key: string; readonly modRevision: bigint } | undefined;

  constructor(limits: { readonly maxKeys: number; readonly maxValueBytes: number }) {
    this.#maxKeys = limits.maxKeys;
    this.#maxValueBytes = limits.maxValueBytes;
  }

  /** 0 before the first list. All changes up to and including this revision were told. */
  get revision(): bigint {
    return this.#eventRevision > this.#listRevision ? this.#eventRevision : this.#listRevision;
  }

  get clusterId(): bigint {
    return this.#clusterId;
  }

  get witness(): { readonly key: string; readonly modRevision: bigint } | undefined {
    return this.#witness;
  }

  get size(): number {
    return this.#modRevisions.size;
  }

  /** Forgets everything and starts from a list. */
  reset(list: WholeList): void {
    this.#clusterId = list.clusterId;
    this.#listRevision = list.revision;
    this.#eventRevision = 0n;
    this.#modRevisions = new Map(list.entries.map((entry) => [entry.key, entry.modRevision]));
    this.#witness = newest(list.entries);
  }

  /** Whether a list can only come from another store, or from this one set back to an earlier time. */
  contradicts(list: WholeList): boolean {
    if (list.clusterId !== this.#clusterId || list.revision < this.revision) return true;
    return list.entries.some((entry) => entry.modRevision < (this.#modRevisions.get(entry.key) ?? 0n));
  }

  /** Takes one event of the watch. */
  take(event: RawEvent): Taken {
    const modRevision = event.kind === 'put' ? event.entry.modRevision : event.modRevision;
    const key = event.kind === 'put' ? event.entry.key : event.key;
    if (modRevision <= this.#listRevision) return { kind: 'told' };
    if (modRevision < this.#eventRevision) return { kind: 'old' };
    const known = this.#modRevisions.get(key);
    if (known !== undefined && modRevision <= known) return { kind: 'told' };
    this.#eventRevision = modRevision;
    if (event.kind === 'delete') {
      // A key never told of needs no telling that it went: it was put and deleted behind our back, or skipped.
      if (known === undefined) return { kind: 'told' };
      this.#modRevisions.delete(key);
      if (this.#witness?.key === key) this.#witness = undefined;
      return { kind: 'new', change: { kind: 'delete', key, modRevision } };
    }
    if (event.entry.value.length > this.#maxValueBytes) return { kind: 'skipped', reason: 'value' };
    if (known === undefined && this.#modRevisions.size >= this.#maxKeys) return { kind: 'skipped', reason: 'keys' };
    this.#modRevisions.set(key, modRevision);
    this.#witness = { key, modRevision };
    return { kind: 'new', change: toPut(event.entry) };
  }

  /**
   * What must be told so that the listener knows this list: deletes first, then puts in the order they happened. Only a
   * whole list may be given: what is not in it is taken as deleted. O(keys).
   */
  diff(list: WholeList): { readonly changes: Change[]; readonly deletes: number } {
    const listed = new Set(list.entries.map((entry) => entry.key));
    const gone = [...this.#modRevisions.keys()].filter((key) => !listed.has(key));
    const puts = list.entries.filter((entry) => entry.modRevision > (this.#modRevisions.get(entry.key) ?? 0n));
    puts.sort((a, b) => (a.modRevision < b.modRevision ? -1 : a.modRevision > b.modRevision ? 1 : 0));
    const changes: Change[] = [...gone.map((key): Change => ({ kind: 'delete', key, modRevision: list.revision })), ...puts.map(toPut)];
    this.#listRevision = list.revision;
    this.#modRevisions = new Map(list.entries.map((entry) => [entry.key, entry.modRevision]));
    this.#witness = newest(list.entries);
    return { changes, deletes: gone.length };
  }
}

function toPut(entry: StoreEntry): Change {
  return { kind: 'put', key: entry.key, value: entry.value, modRevision: entry.modRevision, leaseId: entry.leaseId };
}

function newest(entries: readonly StoreEntry[]): { readonly key: string; readonly modRevision: bigint } | undefined {
  let best: StoreEntry | undefined;
  for (const entry of entries) if (best === undefined || entry.modRevision > best.modRevision) best = entry;
  return best === undefined ? undefined : { key: best.key, modRevision: best.modRevision };
}
