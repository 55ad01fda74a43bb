// Whom one workload's listener takes callers from: every trust domain of the federation, and the foreign ones its service names.
import { type Bundle, type ForeignCallers, formatServiceName, type ServiceName } from '@isthmus/model';
import type { BundleSource } from '@isthmus/pki';
import type { SnapshotSource } from '../engine/engine.ts';
import type { Peer } from '../tls/judge.ts';

export type InboundTrust = {
  /** The bundles callers of this service are verified by. */
  readonly bundles: BundleSource;
  /** Whether a verified caller may call; asked at each connection and each request. */
  readonly authorize: (peer: Peer) => boolean;
};

/** Whom a gateway's layer-7 listener takes callers from: the same, for every service that it ends TLS for. */
export type GatewayTrust = {
  readonly bundles: BundleSource;
  readonly authorize: (peer: Peer, service: ServiceName) => boolean;
};

/**
 * Trust of one service, following its snapshot. A foreign bundle is there for a service only while that service names
 * its trust domain, so others do not even finish a handshake; a trust domain of our own is never looked up among the
 * foreign ones (reliability 44). **Source** decision 0015.
 */
export function inboundTrust(own: BundleSource, snapshots: SnapshotSource, service: ServiceName): InboundTrust {
  const name = keyOf(service);
  return {
    bundles: withForeign(own, snapshots, (trustDomain) => callersOf(snapshots, name, trustDomain) !== undefined, (key) => key === name),
    authorize: (peer) => mayCall(own, snapshots, name, peer),
  };
}

/**
 * Trust of a gateway that ends TLS. Which service a connection is for is known after its handshake alone, so a foreign
 * bundle is there while any service asks for layer 7 and names its trust domain; `authorize` has the last word, for
 * each connection and each request. **Source** decisions 0015 and 0017.
 */
export function gatewayTrust(own: BundleSource, snapshots: SnapshotSource): GatewayTrust {
  const named = (): ReadonlySet<string> => {
    const trustDomains = new Set<string>();
    for (const view of snapshots.current().resources.values()) {
      if (view.kind === 'service' && view.exported && view.gatewayLayer === 7) for (const { trustDomain } of view.foreignCallers ?? []) trustDomains.add(trustDomain);
    }
    return trustDomains;
  };
  let known: { readonly version: number; readonly trustDomains: ReadonlySet<string> } | undefined;
  const isNamed = (trustDomain: string): boolean => {
    const { version } = snapshots.current();
    if (known?.version !== version) known = { version, trustDomains: named() };
    return known.trustDomains.has(trustDomain);
  };
  return {
    bundles: withForeign(own, snapshots, isNamed, (key) => key.startsWith('service/') && hasForeign(snapshots)),
    authorize: (peer, service) => mayCall(own, snapshots, keyOf(service), peer),
  };
}

const keyOf = (service: ServiceName): string => `service/${formatServiceName(service)}`;

function hasForeign(snapshots: SnapshotSource): boolean {
  for (const key of snapshots.current().resources.keys()) if (key.startsWith('foreign-bundle/')) return true;
  return false;
}

function callersOf(snapshots: SnapshotSource, name: string, trustDomain: string): ForeignCallers | undefined {
  const view = snapshots.current().resources.get(name);
  return view?.kind === 'service' ? view.foreignCallers?.find((c) => c.trustDomain === trustDomain) : undefined;
}

function mayCall(own: BundleSource, snapshots: SnapshotSource, name: string, { trustDomain, spiffeId }: Peer): boolean {
  if (own.get(trustDomain) !== undefined) return true;
  const callers = callersOf(snapshots, name, trustDomain);
  return callers !== undefined && (callers.spiffeIds?.includes(spiffeId) ?? true);
}

/** Our own bundles, and of the foreign ones those that are named. `concerns`: the keys of a snapshot whose change may change what is named. */
function withForeign(own: BundleSource, snapshots: SnapshotSource, isNamed: (trustDomain: string) => boolean, concerns: (key: string) => boolean): BundleSource {
  const foreign = (trustDomain: string): Bundle | undefined => {
    if (!isNamed(trustDomain)) return undefined;
    const held = snapshots.current().resources.get(`foreign-bundle/${trustDomain}`);
    return held?.kind === 'foreign-bundle' ? held.bundle : undefined;
  };
  return {
    get: (trustDomain) => own.get(trustDomain) ?? foreign(trustDomain),
    all: () => own.all(),
    bans: (trustDomain) => own.bans(trustDomain),
    allBans: () => own.allBans(),
    revoked: () => own.revoked(),
    onChange: (fn) => {
      const stops = [own.onChange(fn), snapshots.onChange((_snapshot, changed) => changed.some((key) => key.startsWith('foreign-bundle/') || concerns(key)) && fn())];
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}
