// Which endpoint: a tier by the load it takes, and a weighted choice inside it; and the same choice explained.
import type { Endpoint } from '@isthmus/model';
import { priorityLoad, PURE_FAILOVER } from './failover.ts';

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
  /** When a tier spills over into the next; pure failover without it (decision 0005). */
  readonly overprovisioningPercent?: number;
};

/** What stands for or against an endpoint, for one request. The first that applies, in this order. */
export type Standing = 'no-port' | 'unhealthy' | 'tried' | 'ejected' | 'draining' | 'fit';

/** A choice with its reasons: every endpoint by tier, nearest first. `loadPercent` is the tier's share of such requests. */
export type Explanation = {
  readonly pick: Pick;
  readonly tiers: readonly {
    readonly tier: number;
    readonly loadPercent: number;
    readonly endpoints: readonly { readonly id: string; readonly cluster: string; readonly weight: number; readonly standing: Standing }[];
  }[];
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
 * than sent to what is known not to work. **Bounds** O(endpoints up to the tier that takes it).
 */
export function pickFrom(request: PickRequest): Pick {
  const picked = pickStanding(request, 'fit') ?? pickStanding(request, 'draining');
  if (picked !== undefined) return picked;
  const hasPort = request.tiers.length === 0 || request.tiers.some((tier) => tier.some((e) => e.ports[request.port] !== undefined));
  return { kind: 'reject', reason: hasPort ? 'UH' : 'NR' };
}

/** The same walk as `pickFrom`, with what it saw of each endpoint. */
export function explainPick(request: PickRequest): Explanation {
  const chosenAs: Standing = pickStanding(request, 'fit') === undefined ? 'draining' : 'fit';
  const loads = loadsOf(request, chosenAs);
  return {
    pick: pickFrom(request),
    tiers: request.tiers.map((endpoints, i) => ({
      tier: endpoints[0]?.tier ?? i,
      loadPercent: loads[i] ?? 0,
      endpoints: endpoints.map((e) => ({ id: e.id, cluster: e.cluster, weight: e.weight, standing: standingOf(e, request) })),
    })),
  };
}

function standingOf(e: Endpoint, { port, exclude, unavailable }: PickRequest): Standing {
  if (e.ports[port] === undefined) return 'no-port';
  if (e.health === 'unhealthy') return 'unhealthy';
  if (exclude.has(e.id)) return 'tried';
  if (unavailable(e.id)) return 'ejected';
  return e.health === 'draining' ? 'draining' : 'fit';
}

function pickStanding(request: PickRequest, standing: Standing): Pick | undefined {
  const standings = standingsIn(tierFor(request, standing), request, standing);
  const endpoint = weighted(standings, request.random);
  return endpoint === undefined ? undefined : { kind: 'forward', endpoint, tier: endpoint.tier };
}

/** The endpoints of a tier with that standing; the tier itself where it is its only endpoint's. */
function standingsIn(tier: readonly Endpoint[], request: PickRequest, standing: Standing): readonly Endpoint[] {
  const only = tier.length === 1 ? tier[0] : undefined;
  if (only !== undefined) return standingOf(only, request) === standing ? tier : [];
  return tier.filter((e) => standingOf(e, request) === standing);
}

/** The tier that takes this request: under pure failover the nearest with an endpoint of that standing, else one by load. */
function tierFor(request: PickRequest, standing: Standing): readonly Endpoint[] {
  const { tiers, random, overprovisioningPercent = PURE_FAILOVER } = request;
  if (overprovisioningPercent === PURE_FAILOVER) {
    for (const tier of tiers) for (const e of tier) if (standingOf(e, request) === standing) return tier;
    return [];
  }
  let left = random() * 100;
  return tiers[loadsOf(request, standing).findIndex((load) => (left -= load) < 0)] ?? [];
}

function loadsOf(request: PickRequest, standing: Standing): readonly number[] {
  const { tiers, overprovisioningPercent = PURE_FAILOVER } = request;
  const health = tiers.map((tier) => ({ fit: tier.filter((e) => standingOf(e, request) === standing).length, total: tier.length }));
  return priorityLoad(health, overprovisioningPercent);
}

/** A random choice in proportion to weight; a weight of 0 counts only where all are 0. */
function weighted(endpoints: readonly Endpoint[], random: () => number): Endpoint | undefined {
  if (endpoints.length <= 1) return endpoints[0];
  let total = 0;
  for (const e of endpoints) total += e.weight;
  if (total === 0) return endpoints[Math.floor(random() * endpoints.length)];
  let left = random() * total;
  for (const e of endpoints) {
    left -= e.weight;
    if (left < 0) return e;
  }
  return endpoints.findLast((e) => e.weight > 0);
}
