// How load is shared between tiers, by how much of each is fit.

/** One tier's endpoints as counted for one decision. */
export type TierHealth = { readonly fit: number; readonly total: number };

/** Pure failover: one fit endpoint is enough for a tier to take everything (decision 0005). */
export const PURE_FAILOVER = Number.POSITIVE_INFINITY;

/**
 * The share of load of each tier, nearest first, in whole percent; they sum to 100 unless nothing is fit, then all are 0.
 * With an overprovisioning of 140 a tier keeps everything until less than 1/1.4 of it is fit, then spills over in
 * proportion; with PURE_FAILOVER it keeps everything until its last fit endpoint goes.
 * **Source** Envoy priority load (facts 3); what rounding leaves over goes to the nearest tier that has any.
 */
export function priorityLoad(tiers: readonly TierHealth[], overprovisioningPercent: number): readonly number[] {
  const health = tiers.map(({ fit, total }) => (fit === 0 ? 0 : Math.min(100, (overprovisioningPercent * fit) / total)));
  const sum = Math.min(100, health.reduce((a, b) => a + b, 0));
  if (sum === 0) return tiers.map(() => 0);
  let left = 100;
  const loads = health.map((h) => {
    const load = Math.min(left, Math.round((h * 100) / sum));
    left -= load;
    return load;
  });
  const nearest = health.findIndex((h) => h > 0);
  return loads.map((load, i) => (i === nearest ? load + left : load));
}
