// EndpointSlices of a Service as one list of endpoints, and those of one node as workloads its agent speaks for. Pure.
import { createHash } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { type Health, isDnsLabel, type ServiceName } from '@isthmus/model';
import { UNNAMED_PORT } from './declare.ts';
import type { KubeEndpoint, KubeEndpointSlice } from './objects.ts';

/** One endpoint of a Service, whatever number of slices it stands in. */
export type ServiceEndpoint = {
  readonly service: ServiceName;
  /** The pod's name; where that is no DNS label, or there is no pod, one made of what it is. */
  readonly instance: string;
  readonly address: string;
  readonly health: Health;
  readonly nodeName: string;
  readonly zone: string;
  /** Where it listens, by the name of the service's port. */
  readonly ports: Readonly<Record<string, number>>;
};

/**
 * What an endpoint's conditions say. `draining`: goes on serving while it ends, and gets nothing new as long as another is
 * healthy. Source: EndpointSlice conditions (KEP-1672).
 */
export function healthOf({ ready, serving, terminating }: Pick<KubeEndpoint, 'ready' | 'serving' | 'terminating'>): Health {
  if (terminating) return serving ? 'draining' : 'unhealthy';
  return ready ? 'healthy' : 'unhealthy';
}

/** Families in the order they are used in; a pod in slices of two families is one endpoint. */
const FAMILIES: readonly string[] = ['IPv4', 'IPv6'];

/**
 * The endpoints of one Service. The same pod may stand in several slices: while the slices are rewritten, one per family, and
 * where ports differ. The first family wins, then the newest word of its slices, by the slices' names where nothing else
 * tells; ports come together.
 */
export function endpointsOf(service: ServiceName, slices: readonly KubeEndpointSlice[]): readonly ServiceEndpoint[] {
  const found = new Map<string, ServiceEndpoint & { readonly family: number }>();
  for (const slice of [...slices].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const family = FAMILIES.indexOf(slice.addressType);
    if (family === -1 || slice.namespace !== service.namespace || slice.service !== service.name) continue;
    const ports = Object.fromEntries(slice.ports.flatMap((p) => (p.protocol === 'TCP' && isDnsLabel(p.name || UNNAMED_PORT) ? [[p.name || UNNAMED_PORT, p.port] as const] : [])));
    for (const endpoint of slice.endpoints) {
      if (!isAddress(endpoint.address)) continue;
      const instance = instanceOf(endpoint);
      const before = found.get(instance);
      if (before !== undefined && before.family < family) continue;
      const isSame = before?.family === family && before.address === endpoint.address;
      found.set(instance, {
        service,
        instance,
        address: endpoint.address,
        health: isSame ? worse(before.health, healthOf(endpoint)) : healthOf(endpoint),
        nodeName: endpoint.nodeName,
        zone: endpoint.zone,
        ports: isSame ? { ...before.ports, ...ports } : ports,
        family,
      });
    }
  }
  return [...found.values()].map(({ family: _family, ...endpoint }) => endpoint).filter((e) => Object.keys(e.ports).length > 0);
}

/** Of two words about one pod the more careful one: what is ending in one slice is not new in another. */
function worse(a: Health, b: Health): Health {
  const order: readonly Health[] = ['unhealthy', 'draining', 'unknown', 'healthy'];
  return order.indexOf(a) < order.indexOf(b) ? a : b;
}

function instanceOf({ pod, address }: KubeEndpoint): string {
  if (isDnsLabel(pod)) return pod;
  return `e-${createHash('sha256').update(pod === '' ? address : pod).digest('hex').slice(0, 16)}`;
}

/** What nobody but the machine itself, or its neighbours on the link, is at; also written as an IPv6 address (EndpointSlice validation forbids most of it too). */
const [NOT_DIALLED4, NOT_DIALLED6] = [new BlockList(), new BlockList()];
for (const [net, prefix] of [['0.0.0.0', 8], ['127.0.0.0', 8], ['169.254.0.0', 16], ['224.0.0.0', 3]] as const) NOT_DIALLED4.addSubnet(net, prefix, 'ipv4');
for (const [net, prefix] of [['::', 96], ['::ffff:0:0', 96], ['fe80::', 10], ['ff00::', 8]] as const) NOT_DIALLED6.addSubnet(net, prefix, 'ipv6');

/** Only addresses: a name could be pointed anywhere. */
function isAddress(text: string): boolean {
  const family = isIP(text);
  if (text.includes('%')) return false;
  return family === 4 ? !NOT_DIALLED4.check(text, 'ipv4') : family === 6 && !NOT_DIALLED6.check(text, 'ipv6');
}

/** The locality of an endpoint: the cluster's region, or whatever stands before, with the zone its node is in. */
export function localityOf(region: string, zone: string): string {
  const first = region.split('/')[0] ?? '';
  return zone === '' || first === '' ? region : `${first}/${zone}`;
}
