// An import: what a cluster makes of a service another cluster offers it, in memory and never written by people.
import type { PeerState } from './peer.ts';
import type { ServicePort } from './resource/service.ts';

/** One service of one other cluster. `gateways` are that cluster's `host:port` addresses, `staleSinceMs` is Unix time. */
export type ImportedService = {
  readonly namespace: string;
  readonly name: string;
  readonly cluster: string;
  readonly trustDomain: string;
  readonly ports: readonly ServicePort[];
  readonly readyCount: number;
  readonly totalCount: number;
  /** Sum of the weights of the ready workloads there. */
  readonly readyWeight: number;
  /** The gateways there end TLS for it. */
  readonly gatewayLayer?: 7;
  /** Unix time that cluster exported it at, where it said so. */
  readonly exportedAtMs?: number;
  readonly state: PeerState;
  readonly staleSinceMs?: number;
  readonly gateways: readonly string[];
  readonly locality: string;
};
