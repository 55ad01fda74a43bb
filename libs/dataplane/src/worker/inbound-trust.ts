// Whom one workload's listener takes callers from: every trust domain of the federation, and the foreign ones its service names.
import { type Bundle, formatServiceName, type ServiceName } from '@isthmus/model';
import type { BundleSource } from '@isthmus/pki';
import type { SnapshotSource } from '../engine/engine.ts';
import type { Peer } from '../tls/judge.ts';

export type InboundTrust = {
  /** The bundles callers of this service are verified by. */
  readonly bundles: BundleSource;
  /** Whether a verified caller may call; asked at each connection and each request. */
  readonly authorize: (peer: Peer) => boolean;
};

/**
 * Trust of one service, following its snapshot. A foreign bundle is there for a service only while that service names
 * its trust domain, so others do not even finish a handshake; a trust domain of our own is never looked up among the
 * foreign ones (reliability 44). **Source** decision 0015.
 */
export function inboundTrust(own: BundleSource, snapshots: SnapshotSource, service: ServiceName): InboundTrust {
  const name = `service/${formatServiceName(service)}`;
  const callersOf = (trustDomain: string) => {
    const view = snapshots.current().resources.get(name);
    return view?.kind === 'service' ? view.foreignCallers?.find((c) => c.trustDomain === trustDomain) : undefined;
  };
  const foreign = (trustDomain: string): Bundle | undefined => {
    if (callersOf(trustDomain) === undefined) return undefined;
    const held = snapshots.current().resources.get(`foreign-bundle/${trustDomain}`);
    return held?.kind === 'foreign-bundle' ? held.bundle : undefined;
  };
  const bundles: BundleSource = {
    get: (trustDomain) => own.get(trustDomain) ?? foreign(trustDomain),
    all: () => own.all(),
    bans: (trustDomain) => own.bans(trustDomain),
    allBans: () => own.allBans(),
    revoked: () => own.revoked(),
    onChange: (fn) => {
      const stops = [own.onChange(fn), snapshots.onChange((_snapshot, changed) => changed.some((c) => c === name || c.startsWith('foreign-bundle/')) && fn())];
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
  return {
    bundles,
    authorize: ({ trustDomain, spiffeId }) => {
      if (own.get(trustDomain) !== undefined) return true;
      const callers = callersOf(trustDomain);
      return callers !== undefined && (callers.spiffeIds?.includes(spiffeId) ?? true);
    },
  };
}
