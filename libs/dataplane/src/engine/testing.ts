// What tests of relays need: snapshots that change at will, and the engines that can run here.
import { resourceName, type Snapshot, type SnapshotResource } from '@isthmus/model';
import { fail } from '../errors.ts';
import type { EngineKind, SnapshotSource } from './engine.ts';
import { engines } from './engines.ts';

export function snapshotOf(version: number, ...views: readonly SnapshotResource[]): Snapshot {
  return { version, resources: new Map(views.map((v) => [resourceName(v), v])) };
}

/** A snapshot source in a test's hand. */
export class TestSnapshots implements SnapshotSource {
  #snapshot: Snapshot;
  readonly #listeners = new Set<(snapshot: Snapshot, changed: readonly string[]) => void>();

  constructor(...views: readonly SnapshotResource[]) {
    this.#snapshot = snapshotOf(1, ...views);
  }

  current(): Snapshot {
    return this.#snapshot;
  }

  onChange(fn: (snapshot: Snapshot, changed: readonly string[]) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /** Replaces everything and tells of every resource that was or is there. */
  set(...views: readonly SnapshotResource[]): void {
    const before = this.#snapshot;
    this.#snapshot = snapshotOf(before.version + 1, ...views);
    const changed = [...new Set([...before.resources.keys(), ...this.#snapshot.resources.keys()])];
    for (const fn of this.#listeners) fn(this.#snapshot, changed);
  }
}

/** The engines that load on this machine. ISTHMUS_TEST_ENGINE names the only one to test; it must be there then. */
export async function availableEngines(): Promise<readonly EngineKind[]> {
  const wanted = process.env.ISTHMUS_TEST_ENGINE;
  const all = (Object.keys(engines) as EngineKind[]).filter((kind) => wanted === undefined || kind === wanted);
  if (all.length === 0) throw fail('DATAPLANE_ENGINE_UNAVAILABLE', `there is no engine ${wanted}`);
  const loaded = await Promise.all(all.map((kind) => engines[kind]().then(() => [kind], () => [])));
  return loaded.flat();
}
