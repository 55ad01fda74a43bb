// Proxy to control plane: keeps the stream, takes only whole good snapshots, remembers the last good one on disk, reports workloads.
import type { Bundle, Registration, Snapshot } from '@isthmus/model';
import type { RpcChannel } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';

export type SubscribeOptions = {
  readonly channel: RpcChannel;
  readonly hello: { readonly network: string; readonly locality: string };
  /** Path of the last-good file, mode 0600; without it nothing outlives the process. */
  readonly stateFile?: string;
  /** Older last-good snapshots than this are not used; 7 days without it. */
  readonly maxAgeMs?: number;
  /** Gets every bundle of a snapshot before the snapshot is handed on. */
  readonly bundles?: { update(bundle: Bundle): boolean };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

export type SubscriptionStatus = {
  readonly version: number;
  readonly connected: boolean;
  /** Since the control plane was last heard; after a restart counted from when the last-good file was written. */
  readonly ageMs: number;
  readonly source: 'none' | 'last-good' | 'control-plane';
  readonly lastNack?: string;
  readonly reportRefused?: string;
  readonly lastError?: string;
};

export interface Subscription {
  snapshot(): Snapshot;
  /** Called with each snapshot in force and the names of the resources that changed in it. */
  onSnapshot(fn: (snapshot: Snapshot, changed: readonly string[]) => void): () => void;
  /** The workloads this agent answers for now; only the latest state is sent. Their `sequence` is set here. */
  report(registrations: readonly Registration[]): void;
  status(): SubscriptionStatus;
  close(): Promise<void>;
}

/** Loads the last good snapshot, then keeps a stream. Resolves before any connection. */
export async function subscribe(_options: SubscribeOptions): Promise<Subscription> {
  throw new Error('soon');
}
