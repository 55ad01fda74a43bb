// What one proxy sees of one service: endpoints of its own cluster and of others, in tiers by nearness. Pure.
import {
  distance,
  type Endpoint,
  type Export,
  type ImportedService,
  parseLocality,
  type Registration,
  registrationKey,
  type Service,
  type ServiceName,
  type ServicePort,
  type ServiceView,
  spiffeIds,
  type TrustDomain,
} from '@isthmus/model';

/** What decides how a proxy sees the federation; proxies alike in all of it share one view. */
export type ProxyPlace = { readonly kind: 'agent' | 'gateway'; readonly network: string; readonly locality: string };

/** The own cluster, as far as views depend on it. */
export type OwnCluster = {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly locality: string;
  /** `host:port` of its east-west gateways. */
  readonly gateways: readonly string[];
};

/** All that is known of one service. */
export type ServiceFacts = {
  readonly name: ServiceName;
  readonly declared: Service | undefined;
  readonly exported: Export | undefined;
  readonly workloads: readonly Registration[];
  readonly imports: readonly ImportedService[];
  /** Is there a bundle for that trust domain? An endpoint that could not be verified is left out. */
  readonly hasBundle: (trustDomain: string) => boolean;
};

/** The most endpoints of one service a proxy is told of, as the model allows; the farthest fall off. */
const MAX_ENDPOINTS = 20_000;

/** An endpoint before tiers are made dense: `rank` grows with farness, with gaps. */
type Ranked = Omit<Endpoint, 'tier'> & { readonly rank: number };

/** Direct endpoints of the own cluster 0-3 by distance, through its own gateway 4-7, other clusters 8-11, and at the end what is presumed dead. */
const RANK = { own: 0, ownGateway: 4, other: 8, presumedDead: 12 } as const;

/**
 * A service as a proxy at that place sees it; undefined when it does not exist there. A gateway sees exported services
 * and its own cluster's endpoints alone, all in one tier, since what is announced to peers is the sum of them all; so
 * nothing is ever relayed from cluster to cluster in a circle.
 */
export function buildServiceView(own: OwnCluster, facts: ServiceFacts, place: ProxyPlace): ServiceView | undefined {
  const { declared, exported } = facts;
  if (place.kind === 'gateway' && (declared === undefined || exported === undefined)) return undefined;
  const imports = place.kind === 'gateway' ? [] : facts.imports.filter((i) => i.state !== 'fenced' && i.cluster !== own.cluster);
  const ports = declared?.ports ?? portsOf(imports);
  if (ports === undefined) return undefined;
  const local = declared === undefined ? [] : ownEndpoints(own, facts, declared.ports, place);
  const ranked = [...local, ...imports.flatMap((i) => importEndpoints(i, place))].filter((e) => facts.hasBundle(e.trustDomain));
  const foreignCallers = exported?.foreignCallers ?? [];
  return {
    kind: 'service',
    namespace: facts.name.namespace,
    name: facts.name.name,
    ports: [...ports],
    endpoints: toTiers(ranked),
    exported: exported !== undefined,
    ...(foreignCallers.length > 0 && { foreignCallers: [...foreignCallers] }),
    ...(place.kind === 'gateway' && layerOf(exported)),
  };
}

/** `gatewayLayer` where an export asks for layer 7. */
function layerOf(exported: Export | undefined): { readonly gatewayLayer?: 7 } {
  return exported?.gateway?.layer === 7 ? { gatewayLayer: 7 } : {};
}

/**
 * Ports of a service nobody declared here, so that all control planes agree: those of the oldest export, then of the cluster
 * whose name comes first. One that says no time counts as younger than those that do (KEP-1645, conflict resolution).
 */
function portsOf(imports: readonly ImportedService[]): readonly ServicePort[] | undefined {
  const [first] = [...imports].sort((a, b) => (a.exportedAtMs ?? Infinity) - (b.exportedAtMs ?? Infinity) || (a.cluster < b.cluster ? -1 : 1));
  return first?.ports;
}

function ownEndpoints(own: OwnCluster, facts: ServiceFacts, ports: readonly ServicePort[], place: ProxyPlace): readonly Ranked[] {
  if (place.kind === 'gateway') return facts.workloads.map((w) => ({ ...directEndpoint(own, w), rank: RANK.own }));
  const here = parseLocality(place.locality);
  const direct = facts.workloads
    .filter((w) => w.network === place.network)
    .map((w) => ({ ...directEndpoint(own, w), rank: RANK.own + distance(here, parseLocality(w.locality)) }));
  const elsewhere = facts.workloads.filter((w) => w.network !== place.network);
  // Only exported names exist at a gateway, so other networks are out of reach for the rest.
  if (elsewhere.length === 0 || facts.exported === undefined) return direct;
  const ready = elsewhere.filter((w) => w.health === 'healthy');
  const viaGateway = gatewayEndpoints({
    cluster: own.cluster,
    trustDomain: own.trustDomain,
    service: facts.name,
    ports,
    gateways: own.gateways,
    ...layerOf(facts.exported),
    locality: own.locality,
    isReady: ready.length > 0,
    weight: ready.reduce((sum, w) => sum + w.weight, 0),
    rank: RANK.ownGateway + distance(here, parseLocality(own.locality)),
  });
  return [...direct, ...viaGateway];
}

function directEndpoint(own: OwnCluster, w: Registration): Omit<Endpoint, 'tier'> {
  return {
    id: `${own.cluster}/${registrationKey(w)}`,
    cluster: own.cluster,
    trustDomain: own.trustDomain,
    host: w.address,
    ports: w.inboundPorts,
    spiffeId: spiffeIds.service(own.trustDomain as TrustDomain, { namespace: w.namespace, name: w.service }),
    locality: w.locality,
    weight: w.weight,
    // Not yet passed its first check is not fit for traffic.
    health: w.health === 'unknown' ? 'unhealthy' : w.health,
    viaGateway: false,
  };
}

function importEndpoints(i: ImportedService, place: ProxyPlace): readonly Ranked[] {
  const near = distance(parseLocality(place.locality), parseLocality(i.locality));
  return gatewayEndpoints({
    cluster: i.cluster,
    trustDomain: i.trustDomain,
    service: i,
    ports: i.ports,
    gateways: i.gateways,
    ...(i.gatewayLayer === undefined ? {} : { gatewayLayer: i.gatewayLayer }),
    locality: i.locality,
    isReady: i.readyCount > 0,
    weight: i.readyWeight,
    rank: i.state === 'presumed-dead' ? RANK.presumedDead : RANK.other + near,
  });
}

/** One endpoint a gateway address (two where some ports are of another layer, and so of another identity), the weight split over them so that two gateways do not count twice (facts 3, split horizon). */
function gatewayEndpoints(behind: {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly service: ServiceName;
  readonly ports: readonly ServicePort[];
  readonly gateways: readonly string[];
  readonly gatewayLayer?: 7;
  readonly locality: string;
  readonly isReady: boolean;
  readonly weight: number;
  readonly rank: number;
}): readonly Ranked[] {
  const gateways = [...new Set(behind.gateways)].sort();
  return gateways.flatMap((gateway, i) => {
    const address = splitHostPort(gateway);
    if (address === undefined) return [];
    const share = Math.floor(behind.weight / gateways.length) + (i < behind.weight % gateways.length ? 1 : 0);
    const { trustDomain, service, ports } = behind;
    const ofService = spiffeIds.service(trustDomain as TrustDomain, service);
    // Who answers is the workload, or where the gateway ends TLS the gateway; never either of both.
    const tcp = behind.gatewayLayer === 7 ? ports.filter((p) => p.protocol === 'tcp') : [];
    const own = behind.gatewayLayer === 7 ? ports.filter((p) => p.protocol !== 'tcp') : ports;
    const common = {
      cluster: behind.cluster,
      trustDomain,
      host: address.host,
      locality: behind.locality,
      // A gateway with something ready behind it must be able to get a request, however thin its share.
      weight: behind.isReady ? Math.max(1, share) : share,
      health: behind.isReady ? ('healthy' as const) : ('unhealthy' as const),
      viaGateway: true,
      rank: behind.rank,
    };
    const id = `${behind.cluster}/gateway/${gateway}`;
    const at = (some: readonly ServicePort[]): Record<string, number> => Object.fromEntries(some.map((p) => [p.name, address.port]));
    return [
      ...(own.length === 0 ? [] : [{ ...common, id, ports: at(own), spiffeId: behind.gatewayLayer === 7 ? spiffeIds.gateway(trustDomain as TrustDomain) : ofService }]),
      ...(tcp.length === 0 ? [] : [{ ...common, id: `${id}/tcp`, ports: at(tcp), spiffeId: ofService }]),
    ];
  });
}

/** Ranks made dense from 0, nearest first, in an order that does not depend on the order of arrival. */
function toTiers(ranked: readonly Ranked[]): Endpoint[] {
  const sorted = [...ranked].sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)).slice(0, MAX_ENDPOINTS);
  const tiers = new Map([...new Set(sorted.map((e) => e.rank))].map((rank, tier) => [rank, tier]));
  return sorted.map(({ rank, ...endpoint }) => ({ ...endpoint, tier: tiers.get(rank) ?? 0 }));
}

/** Splits `host:port`, `[v6]:port`; undefined when it is neither. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const port = Number(text.slice(colon + 1));
  return colon > 0 && host !== '' && Number.isInteger(port) && port > 0 && port < 65_536 ? { host, port } : undefined;
}
