// The local truth about workloads and their health: in memory first, written to the store beside the path.
import type { Registration, ServiceName } from '@isthmus/model';
import type { Clock, Random } from '@isthmus/runtime';
import type { Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';

export type RegistryOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** How long the endpoints of an agent whose stream ended stay; 10 s without it (Istio's figure for VMs, facts 3). */
  readonly graceMs?: number;
};

/** What stands ready behind a service: the numbers of a digest. */
export type Capacity = { readonly readyCount: number; readonly totalCount: number; readonly readyWeight: number };

export interface Registry {
  /** A new stream of an agent; its epoch outranks every earlier one's, whose late words are then ignored. */
  agentArrived(agent: string): number;
  /** Takes a report. `full`: what it does not hold is gone. `removed`: `<namespace>/<service>/<agent>.<instance>`. */
  report(
    agent: string,
    registrations: readonly Registration[],
    options: { readonly full: boolean; readonly removed?: readonly string[]; readonly epoch?: number },
  ): void;
  /** The stream of that epoch ended: its endpoints stay for the grace period. */
  agentGone(agent: string, epoch?: number): void;
  list(): readonly Registration[];
  workloads(service: ServiceName): readonly Registration[];
  capacity(service: ServiceName): Capacity;
  /** Called at once with the services a report changed; returns the unsubscriber. */
  onChange(fn: (changed: readonly ServiceName[]) => void): () => void;
  close(): Promise<void>;
}

export async function openRegistry(_options: RegistryOptions): Promise<Registry> {
  throw new Error('soon');
}
