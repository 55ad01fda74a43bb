// The configuration files of the demo's processes, as an operator would write them.
import { formatServiceName, spiffeIds } from '@isthmus/model';
import type { FederationOptions } from './federation.ts';
import { type AgentPlan, type ClusterPlan, names, portNames, servicesOf } from './topology.ts';

const HOST = '127.0.0.1';
/** Quick enough that a restart of a sample program is seen at once, cheap enough for a laptop. */
const HEALTH_CHECK = { kind: 'http', path: '/healthz', intervalMs: 250, timeoutMs: 1_000, unhealthyThreshold: 2, healthyThreshold: 1 };

type EtcdFiles = { readonly ca: string; readonly cert: string; readonly key: string };

export function trustRootConfig({ paths, ports, topology, adminApi }: FederationOptions): object {
  return {
    federation: topology.federation,
    stateDir: paths.state(names.trustRoot),
    listen: { host: HOST, port: ports[names.trustRoot] },
    // The demo's operators may do over the network what its admin APIs let them.
    ...(adminApi === true && { operators: topology.clusters.map((c) => ({ cluster: c.name, may: ['rotate', 'fence', 'members'] })) }),
    adminSocket: paths.socket(names.trustRoot),
    health: { host: HOST, port: ports[portNames.health(names.trustRoot)] },
  };
}

export function controlPlaneConfig(
  { paths, ports, topology, store, gatewayAddresses }: FederationOptions,
  cluster: ClusterPlan,
  files: { readonly tokenFile: string | undefined; readonly etcdTls: EtcdFiles | undefined },
): object {
  const name = names.controlPlane(cluster.name);
  const storePort = ports[portNames.store(cluster.name)];
  return {
    cluster: cluster.name,
    federation: topology.federation,
    stateDir: paths.state(name),
    locality: cluster.locality,
    gateways: [gatewayAddresses?.[cluster.name] ?? `${HOST}:${ports[names.gateway(cluster.name)]}`],
    listen: { host: HOST, port: ports[name] },
    trustRoot: { address: `${HOST}:${ports[names.trustRoot]}` },
    ...(files.tokenFile === undefined ? {} : { bootstrapTokenFile: files.tokenFile }),
    store: store === 'etcd' ? { kind: 'etcd', endpoints: [`https://${HOST}:${storePort}`], tls: files.etcdTls && { ca: files.etcdTls.ca, cert: files.etcdTls.cert, key: files.etcdTls.key } } : { kind: 'embedded', port: storePort },
    bundleEndpoint: { listen: { host: HOST, port: ports[portNames.bundle(cluster.name)] }, profile: 'https_spiffe', refreshHintSeconds: 10 },
    foreignTrustDomains: { pollFloorMs: 1_000 },
    adminSocket: paths.socket(name),
    health: { host: HOST, port: ports[portNames.health(name)] },
  };
}

export function gatewayConfig({ paths, ports }: FederationOptions, cluster: ClusterPlan, tokenFile: string | undefined): object {
  const name = names.gateway(cluster.name);
  const controlPlane = `${HOST}:${ports[names.controlPlane(cluster.name)]}`;
  return {
    stateDir: paths.state(name),
    server: { address: controlPlane },
    ...(tokenFile === undefined ? {} : { joinTokenFile: tokenFile }),
    network: cluster.name,
    locality: cluster.locality,
    workers: 1, // one of many processes on a laptop
    listen: { host: HOST, port: ports[name] },
    reserved: { 'control-plane': controlPlane, store: controlPlane, 'trust-root': `${HOST}:${ports[names.trustRoot]}`, admin: `${HOST}:${ports[names.adminApi(cluster.name)]}`, bundle: `${HOST}:${ports[portNames.bundle(cluster.name)]}` },
    adminSocket: paths.socket(name),
    health: { host: HOST, port: ports[portNames.health(name)] },
  };
}

/** The operator the demo's admin APIs let do everything, in every cluster. */
export const DEMO_OPERATOR = 'demo';

/** Grants of an admin API, as its configuration has them. */
export type DemoGrant = { readonly who: string; readonly role: string; readonly clusters?: 'all' | readonly string[]; readonly namespaces?: 'all' | readonly string[] };

export function adminApiConfig({ paths, ports, topology }: FederationOptions, cluster: ClusterPlan, grants?: readonly DemoGrant[]): object {
  const name = names.adminApi(cluster.name);
  const everything = topology.clusters.flatMap((c) => ['operator', 'trust-admin'].map((role) => ({ who: spiffeIds.operator(c.trustDomain, DEMO_OPERATOR), role })));
  return {
    cluster: cluster.name,
    federation: topology.federation,
    stateDir: paths.state(name),
    controlPlaneSocket: paths.socket(names.controlPlane(cluster.name)),
    trustRoot: { address: `${HOST}:${ports[names.trustRoot]}` },
    adminSocket: paths.socket(name),
    listen: { host: HOST, port: ports[name] },
    grants: grants ?? everything,
    forwarders: topology.clusters.filter((c) => c.name !== cluster.name).map((c) => ({ cluster: c.name, roles: ['viewer', 'operator', 'trust-admin'] })),
    health: { host: HOST, port: ports[portNames.health(name)] },
  };
}

export function agentConfig({ paths, ports, topology }: FederationOptions, cluster: ClusterPlan, agent: AgentPlan, tokenFile: string | undefined): object {
  const attachedTo = agent.attach === 'gateway' ? names.gateway(cluster.name) : names.controlPlane(cluster.name);
  const { workload } = agent;
  return {
    stateDir: paths.state(agent.name),
    name: agent.name,
    server: { address: `${HOST}:${ports[attachedTo]}` },
    ...(tokenFile === undefined ? {} : { joinTokenFile: tokenFile }),
    network: agent.network,
    locality: agent.locality,
    adminSocket: paths.socket(agent.name),
    health: { host: HOST, port: ports[portNames.health(agent.name)] },
    dns: { port: ports[portNames.dns(agent.name)] },
    outbound: { listeners: servicesOf(topology).map((service) => ({ service: formatServiceName(service), portName: 'http', protocol: 'http', port: ports[portNames.outbound(agent.name, service)] })) },
    ...(agent.callAs === undefined ? {} : { identity: { callAs: formatServiceName(agent.callAs) } }),
    workloads:
      workload === undefined
        ? []
        : workload.services.map((service) => ({
            kind: 'workload',
            namespace: service.namespace,
            service: service.name,
            instance: workload.instance,
            host: HOST,
            ports: { http: ports[names.workload(cluster.name, workload.instance)] },
            inbound: { http: ports[portNames.inbound(agent.name, service)] },
            healthCheck: HEALTH_CHECK,
          })),
  };
}

/** A configuration as YAML, with a word on where it comes from. */
export function toYaml(name: string, config: object): string {
  return `# ${name} of the demo; written anew at each \`isthmus up\`.\n${yamlLines(config).join('\n')}\n`;
}

/** Block YAML of plain data; scalars are written as JSON, which YAML takes as they are (YAML 1.2 §1.3). */
function yamlLines(value: object): string[] {
  const isList = Array.isArray(value);
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    if (inner === undefined) return [];
    const head = isList ? '-' : `${/^[A-Za-z][A-Za-z0-9-]*$/.test(key) ? key : JSON.stringify(key)}:`;
    if (typeof inner !== 'object' || inner === null || Object.keys(inner).length === 0) return [`${head} ${JSON.stringify(inner)}`];
    const lines = yamlLines(inner);
    return isList ? lines.map((line, i) => `${i === 0 ? '- ' : '  '}${line}`) : [head, ...lines.map((line) => `  ${line}`)];
  });
}
