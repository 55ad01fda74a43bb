// The provider as Terraform sees it: its block, its resources and its data sources, in the order of the reference page.
import type { Clock, Random } from '@isthmus/runtime';
import { type Api, openApi } from './connection/api.ts';
import { readSettings, settingsAttributes, settingsProblems } from './connection/settings.ts';
import { clusterData, gatewayAddresses } from './data-sources/cluster.ts';
import { status } from './data-sources/status.ts';
import { trustBundle } from './data-sources/trust-bundle.ts';
import type { ProviderDefinition } from './protocol/definition.ts';
import { bundleFederation } from './resources/bundle-federation.ts';
import { cluster } from './resources/cluster.ts';
import { exported } from './resources/export.ts';
import { joinToken } from './resources/join-token.ts';
import { peer } from './resources/peer.ts';
import { service } from './resources/service.ts';

/** The address a configuration names the provider by. `.example` is nobody's: it cannot be had from a registry by mistake (RFC 2606). */
export const SOURCE_ADDRESS = 'isthmus.example/isthmus/isthmus';

export function makeProvider(parts: { readonly env: Readonly<Record<string, string | undefined>>; readonly clock: Clock; readonly random: Random }): ProviderDefinition<Api> {
  const { env, clock, random } = parts;
  const nowMs = (): number => clock.nowMs();
  return {
    description: 'Provisions services, exports, tokens and clusters of an Isthmus federation through any cluster’s admin API.',
    attributes: settingsAttributes(),
    example: `provider "isthmus" {
  endpoints               = ["gateway.east.example:15443"]
  federation              = "acme.example"
  cluster                 = "east"
  ca_certificate_file     = "root.pem"
  client_certificate_file = "alice.pem"
  client_key_file         = "alice.key"
}`,
    validate: settingsProblems,
    configure: async (config) => openApi(await readSettings(config, env), { clock, random }),
    close: (api) => api.close(),
    resources: [cluster(nowMs), peer(clock), service, exported, joinToken(nowMs), bundleFederation],
    dataSources: [clusterData, gatewayAddresses, trustBundle, status],
  };
}
