// The engine in force: compiled anew from each snapshot that comes.
import { compile, type Engine } from '@isthmus/decide';
import type { SnapshotSource } from '../engine/engine.ts';

export interface EngineFollower {
  engine(): Engine;
  close(): void;
}

/** Follows snapshots; what did not change is taken over. */
export function followSnapshots(snapshots: SnapshotSource): EngineFollower {
  let engine = compile(snapshots.current());
  const close = snapshots.onChange((snapshot) => {
    engine = compile(snapshot, engine);
  });
  return { engine: () => engine, close };
}
