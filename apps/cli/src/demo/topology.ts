// The demo's federation as data: which clusters, machines and workloads there are, and which port each part listens on.
import { clusterTrustDomain, type ServiceName, type TrustDomain } from '@isthmus/model';
import { assignPorts, type PortRange } from './ports.ts';

export const FEDERATION = 'demo.isthmus.example' as TrustDomain;
export const PAYMENTS: ServiceName = { namespace: 'shop', name: 'payments' };
export const LEDGER: ServiceName = { namespace: 'shop', name: 'ledger' };
/** What vm-1 calls as; nobody serves it. */
export const WEB: ServiceName = { namespace: 'shop', name: 'web' };
export const VAULT: ServiceName = { namespace: 'shop', name: 'vault' };

/** One sample program and the services it stands behind. */
export type WorkloadPlan = { readonly instance: string; readonly services: readonly ServiceName[] };
/** An agent, the sample program beside it, if any, and the service it calls others as; `attach` says whether it comes in through the cluster's gateway. */
export type AgentPlan = { readonly name: string; readonly network: string; readonly attach: 'control-plane' | 'gateway'; readonly locality: string; readonly workload?: WorkloadPlan; readonly callAs?: ServiceName };
export type ClusterPlan = {
  readonly name: string;
  readonly trustDomain: TrustDomain;
  readonly locality: string;
  readonly services: readonly ServiceName[];
  readonly exports: readonly ServiceName[];
  readonly agents: readonly AgentPlan[];
};
export type Topology = { readonly federation: TrustDomain; readonly clusters: readonly ClusterPlan[] };

function agentOf(cluster: string, zone: string, number: number, services: readonly ServiceName[]): AgentPlan {
  return {
    name: `${cluster}-${number}`,
    network: cluster,
    attach: 'control-plane',
    locality: `${zone}${number === 1 ? 'a' : 'b'}`,
    workload: { instance: `payments-${number}`, services },
  };
}

/**
 * Clusters `east` and `west`, each with two instances of payments; ledger in west only; vault in east, which is not
 * exported; and the machine vm-1, which reaches even its own cluster through that cluster's gateway.
 */
export const DEMO_TOPOLOGY: Topology = {
  federation: FEDERATION,
  clusters: [
    {
      name: 'east',
      trustDomain: clusterTrustDomain('east', FEDERATION),
      locality: 'europe/east',
      services: [PAYMENTS, VAULT],
      exports: [PAYMENTS],
      agents: [
        agentOf('east', 'europe/east/', 1, [PAYMENTS, VAULT]),
        agentOf('east', 'europe/east/', 2, [PAYMENTS]),
        { name: 'vm-1', network: 'vm-1', attach: 'gateway', locality: 'europe/office', callAs: WEB },
      ],
    },
    {
      name: 'west',
      trustDomain: clusterTrustDomain('west', FEDERATION),
      locality: 'america/west',
      services: [PAYMENTS, LEDGER],
      exports: [PAYMENTS, LEDGER],
      agents: [agentOf('west', 'america/west/', 1, [PAYMENTS]), agentOf('west', 'america/west/', 2, [PAYMENTS, LEDGER])],
    },
  ],
};

/** Names of processes, the same in logs, configuration, sockets and `isthmus demo`. */
export const names = {
  trustRoot: 'trust-root',
  controlPlane: (cluster: string) => `${cluster}-control-plane`,
  etcd: (cluster: string) => `${cluster}-etcd`,
  gateway: (cluster: string) => `${cluster}-gateway`,
  workload: (cluster: string, instance: string) => `${cluster}-${instance}`,
} as const;

/** Every port of a topology by what it is for, such as `east-gateway` and `vm-1 outbound shop/payments`. */
export type Ports = Readonly<Record<string, number>>;

/** All services of the federation: what each agent opens an outbound listener for. */
export function servicesOf(topology: Topology): readonly ServiceName[] {
  const seen = new Map<string, ServiceName>();
  for (const cluster of topology.clusters) for (const service of cluster.services) seen.set(`${service.namespace}/${service.name}`, service);
  return [...seen.values()];
}

export const portNames = {
  health: (process: string) => `${process} health`,
  store: (cluster: string) => `${cluster} store`,
  bundle: (cluster: string) => `${cluster} bundle`,
  storePeer: (cluster: string) => `${cluster} store peers`,
  inbound: (agent: string, service: ServiceName) => `${agent} inbound ${service.namespace}/${service.name}`,
  outbound: (agent: string, service: ServiceName) => `${agent} outbound ${service.namespace}/${service.name}`,
  dns: (agent: string) => `${agent} dns`,
} as const;

/** Assigns the ports of a topology from a range. Throws CLI_PORT_RANGE where it is too small. */
export function planPorts(topology: Topology, range: PortRange): Ports {
  const wanted: string[] = [names.trustRoot, portNames.health(names.trustRoot)];
  for (const cluster of topology.clusters) {
    const controlPlane = names.controlPlane(cluster.name);
    const gateway = names.gateway(cluster.name);
    wanted.push(controlPlane, portNames.health(controlPlane), portNames.store(cluster.name), portNames.storePeer(cluster.name), gateway, portNames.health(gateway), portNames.bundle(cluster.name));
    for (const agent of cluster.agents) {
      wanted.push(portNames.health(agent.name), portNames.dns(agent.name));
      for (const service of servicesOf(topology)) wanted.push(portNames.outbound(agent.name, service));
      if (agent.workload === undefined) continue;
      wanted.push(names.workload(cluster.name, agent.workload.instance));
      for (const service of agent.workload.services) wanted.push(portNames.inbound(agent.name, service));
    }
  }
  return assignPorts(range, wanted);
}
