// Medians, percentiles and spread of measured values.

/** The middle value, or the mean of the two in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value below which the share `p` (0 to 1) of the values lies, interpolated between neighbours; NaN of nothing. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * p;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/**
 * The median over the rounds of `ours` divided by `theirs` of the same round: a machine that is slower for a while moves both.
 * NaN where neither has a round, or theirs seems to be nothing in one: it was not measured well.
 */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): number {
  const rounds = Math.min(ours.length, theirs.length);
  const ratios = Array.from({ length: rounds }, (_, round) => ((theirs[round] ?? 0) > 0 ? (ours[round] ?? Number.NaN) / (theirs[round] ?? 0) : Number.NaN));
  return ratios.some(Number.isNaN) ? Number.NaN : median(ratios);
}

/** Half the distance between the least and the greatest, as a share of the median: 0.05 is ±5 %. */
export function spread(values: readonly number[]): number {
  const middle = median(values);
  return middle === 0 || values.length < 2 ? 0 : Math.abs((Math.max(...values) - Math.min(...values)) / 2 / middle);
}
