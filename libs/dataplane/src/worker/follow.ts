// The engine in force: compiled anew from each snapshot that comes.
import { compile, type Engine } from '@isthmus/decide';
import type { SnapshotSource } from '../engine/engine.ts';

export interface EngineFollower {
  engine(): Engine;
  /** Called with every new engine, which `engine` answers by then. Returns the end of it. */
  onEngine(fn: () => void): () => void;
  close(): void;
}

/** Follows snapshots; what did not change is taken over. */
export function followSnapshots(snapshots: SnapshotSource): EngineFollower {
  let engine = compile(snapshots.current());
  const listeners = new Set<() => void>();
  const close = snapshots.onChange((snapshot) => {
    engine = compile(snapshot, engine);
    for (const fn of listeners) fn();
  });
  return {
    engine: () => engine,
    onEngine: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    close,
  };
}
