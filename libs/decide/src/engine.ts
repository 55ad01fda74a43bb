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
import { type Pick, type PickRequest, pickFrom, tiersOf } from './pick.ts';

/** A service ready to be picked from: its endpoints by tier, nearest first. */
export type CompiledService = {
  readonly view: ServiceView;
  readonly endpoints: readonly Endpoint[];
  readonly tiers: readonly (readonly Endpoint[])[];
};

export type RouteRefusal = 'unknown-name' | 'not-ours' | 'not-exported' | 'no-endpoint';

/** Where a gateway sends a connection with a given SNI. */
export type Route =
  | { readonly kind: 'endpoints'; readonly service: ServiceName; readonly port: string; readonly endpoints: readonly Endpoint[] }
  | { readonly kind: 'reserved'; readonly name: ReservedName }
  | { readonly kind: 'refuse'; readonly reason: RouteRefusal };

export interface Engine {
  readonly version: number;
  service(name: ServiceName): CompiledService | undefined;
  services(): readonly CompiledService[];
  /** For gateways: a lower-case SNI name → exported service port of this trust domain, a reserved name, or why not. */
  route(sni: string, trustDomain: TrustDomain): Route;
  /** For callers: one endpoint of a service, the nearest healthy one. */
  pick(request: Omit<PickRequest, 'tiers'> & { readonly service: ServiceName }): Pick;
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
  return {
    version: snapshot.version,
    service,
    services: () => [...services.values()],
    route: (sni, trustDomain) => route(service, sni, trustDomain),
    pick: (request) => {
      const compiled = service(request.service);
      return compiled === undefined ? { kind: 'reject', reason: 'NR' } : pickFrom({ ...request, tiers: compiled.tiers });
    },
  };
}

function compileService(view: ServiceView): CompiledService {
  return { view, endpoints: view.endpoints, tiers: tiersOf(view.endpoints) };
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
  if (serviceSni(target.service, target.port, trustDomain) !== sni.toLowerCase() || !compiled.view.ports.some((p) => p.name === target.port)) {
    return { kind: 'refuse', reason: 'unknown-name' };
  }
  const endpoints = compiled.endpoints.filter((e) => e.trustDomain === trustDomain && e.ports[target.port] !== undefined && !e.viaGateway);
  return endpoints.some((e) => e.health !== 'unhealthy')
    ? { kind: 'endpoints', service: target.service, port: target.port, endpoints }
    : { kind: 'refuse', reason: 'no-endpoint' };
}
