// Cluster to cluster, as this control plane takes part: what it may export, whom it dials and as whom it expects them.
import type { Registry } from '@isthmus/discovery';
import { type ExportedService, type Federation, type FederationOptions, openFederation } from '@isthmus/federation';
import { activeBans, type Authority, type Bans } from '@isthmus/identity';
import { reservedSni, spiffeIds, type TrustDomain } from '@isthmus/model';
import { openChannel } from '@isthmus/rpc';
import type { Config } from './config.ts';
import type { Declarations } from './declarations.ts';

/** What of this cluster federation is made of. */
export type FederationSources = { readonly gateways: () => readonly string[]; readonly authority: Authority; readonly resources: Declarations; readonly registry: Registry; readonly bans: Bans };

/** Opens federation over what is declared and registered here, with bans both ways. **Throws** as `openFederation`. */
export async function openClusterFederation(config: Config, sources: FederationSources, parts: Pick<FederationOptions, 'store' | 'clock' | 'random' | 'log' | 'metrics'>): Promise<Federation> {
  const { authority, gateways, resources, registry, bans } = sources;
  const { trustDomain, svids, bundles } = authority;
  const exportOf: FederationOptions['exportOf'] = (name): ExportedService | undefined => {
    const declared = resources.export(name);
    const service = resources.service(name);
    return declared && service && { export: declared, service, exportedAtMs: resources.exportedAtMs(name), ...registry.capacity(name) };
  };
  return openFederation({
    cluster: config.cluster,
    trustDomain,
    locality: config.locality,
    gateways,
    svids,
    bundles,
    members: () => authority.members(),
    onMembers: (fn) => authority.onMembers(() => fn()),
    dialPeer: (member) =>
      openChannel({
        address: member.gateways,
        serverName: reservedSni('store', member.trustDomain as TrustDomain),
        expectedId: spiffeIds.controlPlane(member.trustDomain as TrustDomain),
        svids,
        bundles,
        log: parts.log,
      }),
    exports: () => resources.exports().flatMap((e) => exportOf(e) ?? []),
    exportOf,
    bans: () => bans.all(),
    onPeerBans: (domain, banned) => bundles.ban(domain, activeBans(banned, parts.clock.nowMs())),
    ...parts,
  });
}
