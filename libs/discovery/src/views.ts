// What each kind of proxy sees, built once for all proxies that stand in the same place, and again only where something changed.
import type { Export, ImportedService, PeerState, Service, ServiceName, SnapshotResource } from '@isthmus/model';
import type { BundleSource } from '@isthmus/pki';
import type { Registry } from './registry.ts';

/** A peer as the control plane's federation sees it. */
export type PeerView = { readonly cluster: string; readonly trustDomain: string; readonly state: PeerState; readonly staleSinceMs?: number };

/** Where the views take their facts from; look-ups by name, so that one change costs one service and not all. */
export interface ViewSources {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly locality: string;
  /** `host:port` of the own cluster's east-west gateways. */
  readonly gateways: readonly string[];
  readonly registry: Registry;
  readonly bundles: BundleSource;
  services(): readonly Service[];
  service(name: ServiceName): Service | undefined;
  export(name: ServiceName): Export | undefined;
  imports(): readonly ImportedService[];
  importsOf(name: ServiceName): readonly ImportedService[];
  peers(): readonly PeerView[];
}

/** What decides how a proxy sees the federation; proxies alike in all of it share one view. */
export type ProxyPlace = { readonly kind: 'agent' | 'gateway'; readonly network: string; readonly locality: string };

/** A resource with the bytes it is sent as. */
export type BuiltResource = { readonly resource: SnapshotResource; readonly json: string };

export interface Views {
  /** Tells that declarations, exports or imports of these services changed (workload changes come by themselves). */
  changed(services: readonly ServiceName[]): void;
  /** Tells that peers' states changed. */
  peersChanged(): void;
  /** Every resource name a proxy at that place may have. */
  names(place: ProxyPlace): readonly string[];
  /** A resource as seen from that place; undefined when it is not there (any more). */
  resource(place: ProxyPlace, name: string): BuiltResource | undefined;
  /** Called with the names of resources that may have changed. */
  onChange(fn: (names: readonly string[]) => void): () => void;
  close(): void;
}

export function openViews(_sources: ViewSources): Views {
  throw new Error('soon');
}
