// `data.isthmus_cluster` and `data.isthmus_gateway_addresses`: what the federation knows of a member.
import { clusterTrustDomain, parseClusterName, type Problem, reservedSni } from '@isthmus/model';
import type { Api } from '../connection/api.ts';
import { fail } from '../errors.ts';
import { type Attributes, mapOf, setOf, STRING } from '../protocol/attribute.ts';
import type { DataSourceDefinition } from '../protocol/definition.ts';
import { textAt, type ValueObject } from '../protocol/value.ts';
import { clusterOf, clusterProblems, READ_CLUSTER } from '../resources/scope.ts';

type Member = { readonly cluster: string; readonly trustDomain: string; readonly locality: string; readonly gateways: readonly string[] };

async function memberOf(api: Api, name: string, signal: AbortSignal): Promise<Member> {
  const members = await api.list('listClusters', {}, signal);
  const found = members.find(({ document }) => document['cluster'] === name)?.document as Member | undefined;
  if (found === undefined) throw fail('TERRAFORM_NOT_CONFIGURED', `no cluster ${name} is a member of the federation`, { hint: `members are ${members.map((m) => m.key).join(', ') || 'none'}` });
  return found;
}

const nameProblems = (config: ValueObject): readonly Problem[] => {
  const name = textAt(config, 'name');
  const parsed = name === undefined ? undefined : parseClusterName(name, 'name');
  return parsed?.ok === false ? parsed.problems : [];
};

const MEMBER: Attributes = {
  trust_domain: { type: STRING, mode: 'computed', description: 'The SPIFFE trust domain of its workloads.' },
  locality: { type: STRING, mode: 'computed', description: 'Where it says it is: region/zone/sub-zone.' },
  gateways: { type: setOf(STRING), mode: 'computed', description: '`host:port` of its gateways, as others reach them.' },
};

export const clusterData: DataSourceDefinition<Api> = {
  typeName: 'isthmus_cluster',
  description: 'A member of the federation, as the admin API knows it.',
  example: `data "isthmus_cluster" "west" {
  name = "west"
}`,
  attributes: { name: { type: STRING, mode: 'required', description: 'Name of the cluster.' }, ...MEMBER },
  validate: nameProblems,
  read: async (api, config, { signal }) => {
    const name = textAt(config, 'name') ?? '';
    const { trustDomain, locality, gateways } = await memberOf(api, name, signal);
    return { state: { name, trust_domain: trustDomain, locality, gateways: [...gateways] } };
  },
};

export const gatewayAddresses: DataSourceDefinition<Api> = {
  typeName: 'isthmus_gateway_addresses',
  description: 'Where a cluster’s one open port is, and the server names behind it: for firewalls, DNS records and the agents of VMs.',
  example: `data "isthmus_gateway_addresses" "east" {
  cluster = "east"
}`,
  attributes: {
    cluster: READ_CLUSTER,
    addresses: { type: setOf(STRING), mode: 'computed', description: '`host:port` of each gateway, as others reach it.' },
    hosts: { type: setOf(STRING), mode: 'computed', description: 'The hosts of the same, without ports.' },
    server_names: { type: mapOf(STRING), mode: 'computed', description: 'Server names (SNI) of the cluster’s own parts behind the gateways: `admin`, `bundle`, `control-plane`.' },
  },
  validate: clusterProblems,
  read: async (api, config, { signal }) => {
    const cluster = clusterOf(api, config);
    const { gateways } = await memberOf(api, cluster, signal);
    const trustDomain = clusterTrustDomain(cluster, api.federation());
    const names = (['admin', 'bundle', 'control-plane'] as const).map((name) => [name, reservedSni(name, trustDomain)]);
    return { state: { cluster, addresses: [...gateways], hosts: [...new Set(gateways.map((address) => address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')))], server_names: Object.fromEntries(names) as Record<string, string> } };
  },
};
