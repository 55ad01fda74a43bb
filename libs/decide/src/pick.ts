// Which endpoint: the nearest tier that has one, and a weighted choice inside it.
import type { Endpoint } from '@isthmus/model';

/** UH: no healthy endpoint. NR: no such service or port. Source: Envoy's response flags. */
export type RejectReason = 'UH' | 'NR';

export type Pick = { readonly kind: 'forward'; readonly endpoint: Endpoint; readonly tier: number } | { readonly kind: 'reject'; readonly reason: RejectReason };

export type PickRequest = {
  readonly tiers: readonly (readonly Endpoint[])[];
  /** Name of the service port. */
  readonly port: string;
  /** Endpoints already tried for this request. */
  readonly exclude: ReadonlySet<string>;
  /** Endpoints this proxy keeps away from for now, by its own experience. */
  readonly unavailable: (endpointId: string) => boolean;
  readonly random: () => number;
};

/** Endpoints by tier, nearest first; tiers without endpoints do not appear. */
export function tiersOf(endpoints: readonly Endpoint[]): readonly (readonly Endpoint[])[] {
  const byTier = new Map<number, Endpoint[]>();
  for (const endpoint of endpoints) {
    const tier = byTier.get(endpoint.tier);
    if (tier === undefined) byTier.set(endpoint.tier, [endpoint]);
    else tier.push(endpoint);
  }
  return [...byTier].sort(([a], [b]) => a - b).map(([, tier]) => tier);
}

/**
 * Picks one endpoint. A tier is used until its last healthy endpoint is gone, only then the next (decision 0005).
 * Draining endpoints come after every healthy one, unhealthy ones never: there is no panic mode, a caller is better told
 * than sent to what is known not to work.
 */
export function pickFrom(request: PickRequest): Pick {
  const { tiers, port } = request;
  if (!tiers.some((tier) => tier.some((e) => e.ports[port] !== undefined))) return { kind: 'reject', reason: tiers.length === 0 ? 'UH' : 'NR' };
  return pickHealth(request, 'healthy') ?? pickHealth(request, 'draining') ?? { kind: 'reject', reason: 'UH' };
}

function pickHealth(request: PickRequest, health: Endpoint['health']): Pick | undefined {
  const { tiers, port, exclude, unavailable, random } = request;
  for (const tier of tiers) {
    const fit = tier.filter((e) => e.health === health && e.ports[port] !== undefined && !exclude.has(e.id) && !unavailable(e.id));
    const endpoint = weighted(fit, random);
    if (endpoint !== undefined) return { kind: 'forward', endpoint, tier: endpoint.tier };
  }
  return undefined;
}

/** A random choice in proportion to weight; a weight of 0 counts only where all are 0. */
function weighted(endpoints: readonly Endpoint[], random: () => number): Endpoint | undefined {
  const [first, ...more] = endpoints;
  if (first === undefined || more.length === 0) return first;
  let total = 0;
  for (const e of endpoints) total += e.weight;
  if (total === 0) return endpoints[Math.floor(random() * endpoints.length)];
  let left = random() * total;
  for (const e of endpoints) {
    left -= e.weight;
    if (left < 0) return e;
  }
  return endpoints.at(-1);
}
