// The decision engine: a snapshot compiled into indexes, and the questions a proxy asks of it. Pure; no clock, no I/O.
import {
  type Endpoint,
  formatServiceName,
  parseSni,
  type ReservedName,
  type ServiceName,
  serviceSni,
  type ServiceView,
  type Snapshot,
  type TrustDomain,
} from '@isthmus/model';
import { type Explanation, explainPick, type Pick, type PickRequest, pickFrom, tiersOf } from './pick.ts';

type Tiers = readonly (readonly Endpoint[])[];

/** A service ready to be picked from: its endpoints by tier, nearest first. */
export type CompiledService = {
  readonly view: ServiceView;
  readonly endpoints: readonly Endpoint[];
  readonly tiers: Tiers;
  /** For gateways: the endpoints of one port that stand in this trust domain itself, never behind another gateway. */
  local(port: string, trustDomain: TrustDomain): Tiers;
};

/** A choice asked for by service name. */
export type ServiceRequest = Omit<PickRequest, 'tiers'> & { readonly service: ServiceName };

export type RouteRefusal = 'unknown-name' | 'not-ours' | 'not-exported' | 'no-endpoint';

/** Where a gateway sends a connection with a given SNI. */
export type Route =
  /** Pick from `tiers` alone: they hold what may be reached by this name, all of it local. */
  | { readonly kind: 'endpoints'; readonly service: ServiceName; readonly port: string; readonly tiers: Tiers; /** 7: this gateway ends TLS and carries requests. */ readonly layer: 4 | 7 }
  | { readonly kind: 'reserved'; readonly name: ReservedName }
  | { readonly kind: 'refuse'; readonly reason: RouteRefusal };

export interface Engine {
  readonly version: number;
  service(name: ServiceName): CompiledService | undefined;
  services(): readonly CompiledService[];
  /** For gateways: a lower-case SNI name → exported service port of this trust domain, a reserved name, or why not. */
  route(sni: string, trustDomain: TrustDomain): Route;
  /** For callers: one endpoint of a service, the nearest healthy one. */
  pick(request: ServiceRequest): Pick;
  /** The same choice with its reasons. */
  explain(request: ServiceRequest): Explanation;
}

/** Compiles a snapshot; services that did not change since `previous` are taken over as they are. Cost: the changed services. */
export function compile(snapshot: Snapshot, previous?: Engine): Engine {
  const services = new Map<string, CompiledService>();
  for (const resource of snapshot.resources.values()) {
    if (resource.kind !== 'service') continue;
    const before = previous?.service(resource);
    services.set(formatServiceName(resource), before?.view === resource ? before : compileService(resource));
  }
  const service = (name: ServiceName): CompiledService | undefined => services.get(formatServiceName(name));
  const unknown: Pick = { kind: 'reject', reason: 'NR' };
  return {
    version: snapshot.version,
    service,
    services: () => [...services.values()],
    route: (sni, trustDomain) => route(service, sni, trustDomain),
    pick: (request) => {
      const compiled = service(request.service);
      return compiled === undefined ? unknown : pickFrom({ ...request, tiers: compiled.tiers });
    },
    explain: (request) => {
      const compiled = service(request.service);
      return compiled === undefined ? { pick: unknown, tiers: [] } : explainPick({ ...request, tiers: compiled.tiers });
    },
  };
}

function compileService(view: ServiceView): CompiledService {
  const local = new Map<string, Tiers>();
  return {
    view,
    endpoints: view.endpoints,
    tiers: tiersOf(view.endpoints),
    local: (port, trustDomain) => {
      const key = `${port}.${trustDomain}`;
      const known = local.get(key);
      if (known !== undefined) return known;
      const tiers = tiersOf(view.endpoints.filter((e) => e.trustDomain === trustDomain && e.ports[port] !== undefined && !e.viaGateway));
      local.set(key, tiers);
      return tiers;
    },
  };
}

/**
 * Only exported names of the gateway's own trust domain exist; everything else is refused before anything is dialled
 * (CVE-2021-31921). Names of other clusters are never passed on, so there are no loops.
 */
function route(service: (name: ServiceName) => CompiledService | undefined, sni: string, trustDomain: TrustDomain): Route {
  const target = parseSni(sni);
  if (target === undefined) return { kind: 'refuse', reason: 'unknown-name' };
  // The trust root is the federation's: the one reserved name above this cluster's trust domain.
  if (target.kind === 'reserved' && target.name === 'trust-root' && trustDomain.endsWith(`.${target.trustDomain}`)) return { kind: 'reserved', name: target.name };
  if (target.trustDomain !== trustDomain) return { kind: 'refuse', reason: 'not-ours' };
  if (target.kind === 'reserved') return target.name === 'trust-root' ? { kind: 'refuse', reason: 'unknown-name' } : { kind: 'reserved', name: target.name };
  const compiled = service(target.service);
  if (compiled === undefined) return { kind: 'refuse', reason: 'unknown-name' };
  if (!compiled.view.exported) return { kind: 'refuse', reason: 'not-exported' };
  // Written again from what was parsed: a name that only looks alike does not come out the same.
  const { layer } = target;
  const port = compiled.view.ports.find((p) => p.name === target.port);
  const isOffered = port !== undefined && (layer === 4 || (compiled.view.gatewayLayer === 7 && port.protocol !== 'tcp'));
  if (serviceSni(target.service, target.port, trustDomain, layer) !== sni.toLowerCase() || !isOffered) return { kind: 'refuse', reason: 'unknown-name' };
  const tiers = compiled.local(target.port, trustDomain);
  return tiers.some((tier) => tier.some((e) => e.health !== 'unhealthy'))
    ? { kind: 'endpoints', service: target.service, port: target.port, tiers, layer }
    : { kind: 'refuse', reason: 'no-endpoint' };
}
