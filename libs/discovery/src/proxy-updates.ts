// What one proxy has, is being sent and has refused; decides the next update. Pure state, no stream and no clock.
import type { BuiltResource } from './views.ts';

/** The change to send next; `upserts` are JSON texts. */
export type NextUpdate = { readonly full: boolean; readonly version: number; readonly upserts: readonly string[]; readonly removals: readonly string[] };

type Changes = ReadonlyMap<string, string | undefined>;
type InFlight = { readonly version: number; readonly full: boolean; readonly changes: Changes };

/**
 * One proxy's side of push.
 *
 * idle → (something it has not) → in flight → ack → idle, or → nack → idle with a refused set. Only one update is ever in
 * flight; what changes meanwhile waits as names, so newer replaces older and the wait costs at most one name a resource.
 * A refused set is not sent again until one of its resources, or a bundle or cluster it may depend on, changes; then it
 * goes whole, since it was refused whole. A refused first update holds everything, so any change releases it.
 */
export class ProxyUpdates {
  readonly #names: () => readonly string[];
  readonly #build: (name: string) => BuiltResource | undefined;
  #acked = new Map<string, string>();
  #pending = new Set<string>();
  #hasBase = false;
  #inFlight: InFlight | undefined;
  #refused: InFlight | undefined;
  #version: number;

  /** `firstVersion` is one less than the first update's. */
  constructor(options: { readonly names: () => readonly string[]; readonly build: (name: string) => BuiltResource | undefined; readonly firstVersion: number }) {
    this.#names = options.names;
    this.#build = options.build;
    this.#version = options.firstVersion;
  }

  get version(): number {
    return this.#version;
  }

  /** Notes that these resources may have changed. */
  touch(names: readonly string[]): void {
    for (const name of names) this.#pending.add(name);
  }

  /** The update to send now, if there is one; it is in flight from here on. */
  next(): NextUpdate | undefined {
    if (this.#inFlight !== undefined) return undefined;
    const full = !this.#hasBase;
    const names = full ? this.#names() : this.#pending;
    const now = new Map<string, string | undefined>();
    for (const name of names) now.set(name, this.#build(name)?.json);
    this.#pending = new Set();
    const changes = full ? this.#fullChanges(now) : this.#deltaChanges(now);
    if (changes === undefined) return undefined;
    this.#version += 1;
    this.#inFlight = { version: this.#version, full, changes };
    const upserts = [...changes.values()].filter((json) => json !== undefined);
    const removals = [...changes].flatMap(([name, json]) => (json === undefined ? [name] : []));
    return { full, version: this.#version, upserts, removals };
  }

  /** The proxy took it. False when nothing of that version is in flight. */
  ack(version: number): boolean {
    const sent = this.#inFlight;
    if (sent === undefined || sent.version !== version) return false;
    this.#inFlight = undefined;
    this.#hasBase = true;
    if (sent.full) this.#acked = new Map();
    for (const [name, json] of sent.changes) {
      if (json === undefined) this.#acked.delete(name);
      else this.#acked.set(name, json);
    }
    return true;
  }

  /** The proxy refused it and keeps what it had. False when nothing of that version is in flight. */
  nack(version: number): boolean {
    const sent = this.#inFlight;
    if (sent === undefined || sent.version !== version) return false;
    this.#inFlight = undefined;
    this.#refused = sent;
    return true;
  }

  #fullChanges(now: ReadonlyMap<string, string | undefined>): Changes | undefined {
    const changes = new Map([...now].filter(([, json]) => json !== undefined));
    if (this.#refused !== undefined && isSame(this.#refused.changes, changes)) return undefined;
    this.#refused = undefined;
    return changes;
  }

  #deltaChanges(now: Map<string, string | undefined>): Changes | undefined {
    const refused = this.#refused?.changes;
    if (refused !== undefined) {
      const isReleased = [...now].some(([name, json]) => (refused.has(name) ? refused.get(name) !== json : !name.startsWith('service/') && this.#acked.get(name) !== json));
      if (isReleased) {
        for (const name of refused.keys()) if (!now.has(name)) now.set(name, this.#build(name)?.json);
        this.#refused = undefined;
      } else {
        for (const name of refused.keys()) now.delete(name);
      }
    }
    const changes = new Map([...now].filter(([name, json]) => this.#acked.get(name) !== json));
    return changes.size === 0 ? undefined : changes;
  }
}

function isSame(a: Changes, b: Changes): boolean {
  return a.size === b.size && [...a].every(([name, json]) => b.get(name) === json);
}
