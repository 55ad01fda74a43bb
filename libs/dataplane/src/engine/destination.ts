// From the server name of a hello to the endpoints that may be dialled for it, or why none may be. Pure.
import { type Engine, pickFrom, type RouteRefusal } from '@isthmus/decide';
import { type Endpoint, formatServiceName, type ReservedName, type TrustDomain } from '@isthmus/model';
import type { Random } from '@isthmus/runtime';
import { LAYER7_TARGET, targetKey } from './departures.ts';

/** One address to dial. `id` is the endpoint's, or the reserved name. */
export type Target = {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Whether what is behind it expects a PROXY v2 header first. Never so for a reserved name. */
  readonly takesProxyHeader: boolean;
  /** By `targetKey`. */
  readonly key: string;
};

/** Where a name leads. */
export type Destination = {
  readonly kind: 'found';
  /** `namespace/name` of the service, or the reserved name: the `service` label of the gateway's metrics. */
  readonly service: string;
  /**
   * The next target that has not been tried, or undefined when there is none left. Undefined with nothing tried yet means
   * that every endpoint has as many connections as it may have: the connection ends as `overloaded`.
   */
  readonly pick: (tried: ReadonlySet<string>) => Target | undefined;
};

export type Refused = { readonly kind: 'refused'; readonly reason: RouteRefusal };

/** What decides besides the snapshot. Everything in it is asked anew with every pick. */
export type DestinationRules = {
  readonly trustDomain: TrustDomain;
  /** `host:port` behind each reserved name; a name without one is refused. */
  readonly reserved: Readonly<Partial<Record<ReservedName, string>>>;
  /** `host:port` where this process ends TLS for services that ask for layer 7; without it they are refused. */
  readonly layer7: string | undefined;
  readonly sendProxyHeader: boolean;
  readonly random: Random;
  /** Endpoints kept away from for now, by this gateway's own experience; taken nevertheless when no other is left. */
  readonly unavailable: (endpointId: string) => boolean;
  /** Endpoints with as many connections as they may have; never taken. */
  readonly isFull: (service: string, endpointId: string) => boolean;
};

/** Where a name (in lower case) leads; good as long as the snapshot is, for any number of connections. Picked from the route's own tiers: never another cluster's endpoint (reliability 74). */
export function destinationOf(engine: Engine, serverName: string, rules: DestinationRules): Destination | Refused {
  const route = engine.route(serverName, rules.trustDomain);
  if (route.kind === 'refuse') return { kind: 'refused', reason: route.reason };
  if (route.kind === 'reserved') return reservedDestination(route.name, rules);
  if (route.layer === 7) return addressDestination(formatServiceName(route.service), LAYER7_TARGET, rules.layer7, rules);
  const { port, tiers } = route;
  const service = formatServiceName(route.service);
  const isFull = (id: string): boolean => rules.isFull(service, id);
  const isFullOrEjected = (id: string): boolean => rules.unavailable(id) || rules.isFull(service, id);
  const targets = new Map<Endpoint, Target>();
  const pick = (tried: ReadonlySet<string>): Target | undefined => {
    const { random } = rules;
    let picked = pickFrom({ tiers, port, exclude: tried, unavailable: isFullOrEjected, random });
    if (picked.kind === 'reject') picked = pickFrom({ tiers, port, exclude: tried, unavailable: isFull, random });
    if (picked.kind === 'reject') return undefined;
    let target = targets.get(picked.endpoint);
    const number = picked.endpoint.ports[port];
    if (target === undefined && number !== undefined) targets.set(picked.endpoint, (target = targetOf(picked.endpoint.id, picked.endpoint.host, number, rules.sendProxyHeader)));
    return target;
  };
  return { kind: 'found', service, pick };
}

const targetOf = (id: string, host: string, port: number, takesProxyHeader: boolean): Target => ({ id, host, port, takesProxyHeader, key: targetKey({ id, host, port }) });

function reservedDestination(name: ReservedName, rules: DestinationRules): Destination | Refused {
  return addressDestination(name, name, rules.reserved[name], rules);
}

/** One fixed address, and no other to fall back to. */
function addressDestination(service: string, id: string, address: string | undefined, rules: DestinationRules): Destination | Refused {
  if (address === undefined) return { kind: 'refused', reason: 'unknown-name' };
  const at = address.lastIndexOf(':');
  const target = targetOf(id, address.slice(0, at).replace(/^\[|\]$/g, ''), Number(address.slice(at + 1)), false);
  return { kind: 'found', service, pick: (tried) => (tried.has(id) || rules.isFull(service, id) ? undefined : target) };
}
