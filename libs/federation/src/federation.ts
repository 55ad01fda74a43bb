// Cluster to cluster: what this one offers, signed; what the others offer, verified and mirrored; how the others are.
import type { Export, ImportedService, Member, PeerState, Service, ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { RpcChannel } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import type { Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';

/** A service with its export and what stands ready behind it now. */
export type ExportedService = {
  readonly export: Export;
  readonly service: Service;
  readonly readyCount: number;
  readonly totalCount: number;
  readonly readyWeight: number;
};

export type FederationOptions = {
  readonly store: Store;
  readonly cluster: string;
  readonly trustDomain: string;
  readonly locality: string;
  /** `host:port` of the own gateways, as peers reach them. */
  readonly gateways: readonly string[];
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Every cluster of the federation, as the trust root says; the own one among them is skipped. */
  members(): readonly Member[];
  onMembers(fn: () => void): () => void;
  /** A channel to the store of that member (reserved SNI `store`, expected ID its control plane's). Closed by federation. */
  dialPeer(member: Member): RpcChannel;
  exports(): readonly ExportedService[];
  exportOf(name: ServiceName): ExportedService | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** A peer as this cluster sees it, from its own evidence alone. */
export type PeerStatus = {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly state: PeerState;
  /** Since its last heartbeat; undefined when it was never heard in this life of the process. */
  readonly ageMs?: number;
  /** Unix time at which it ceased to be fresh. */
  readonly staleSinceMs?: number;
  readonly connected: boolean;
  /** Services it offers us. */
  readonly exports: number;
  /** Records set aside, with the last reason. */
  readonly refused: number;
  readonly lastRefusal?: string;
  readonly lastError?: string;
};

export interface Federation {
  /** Tells that these services, their exports or their workloads changed; cheap when nothing that peers see did. */
  publish(changed: readonly ServiceName[]): void;
  imports(): readonly ImportedService[];
  importsOf(name: ServiceName): readonly ImportedService[];
  /** Called with the services whose imports changed, also when a peer's state changed. */
  onImports(fn: (changed: readonly ServiceName[]) => void): () => void;
  /** Called when any peer's state changed. */
  onPeers(fn: () => void): () => void;
  peers(): readonly PeerStatus[];
  /** Forgets a peer one-sidedly: its imports and its mirror go now, the peer need not be alive. */
  removePeer(cluster: string): Promise<void>;
  close(): Promise<void>;
}

/** Loads the mirrors of earlier lives, starts publishing and watching; never waits for a peer. */
export async function openFederation(_options: FederationOptions): Promise<Federation> {
  throw new Error('soon');
}
