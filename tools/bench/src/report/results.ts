// Samples condensed to one result for each metric: medians, spreads, ratios, and whether the aim is met.
import { AIMS, aimText, meets } from '../aims.ts';
import type { Measured } from '../run.ts';
import { median, ratioOf, spread } from '../statistics.ts';
import type { Metric } from '../workloads/workload.ts';

export type Result = {
  readonly workload: string;
  readonly metric: string;
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  /** Medians over the rounds; null: not measured. */
  readonly ours: number | null;
  readonly peers: Readonly<Record<string, number>>;
  /** Ours divided by the peer's in the same round, median over the rounds. */
  readonly ratio: Readonly<Record<string, number>>;
  /** Half of greatest less least, as a share of the median, by contender. */
  readonly spread: Readonly<Record<string, number>>;
  readonly aim: string | null;
  /** Null where there is no aim, or a figure it needs was not measured. */
  readonly ok: boolean | null;
};

export function resultsOf(measured: Measured): Result[] {
  return measured.workload.metrics.map((metric) => resultOf(measured, metric));
}

/** What the run ends with: 70 when something could not be measured, 1 when an aim is missed and `isStrict`, else 0. */
export function exitCodeOf(results: readonly Result[], errors: readonly string[], isStrict: boolean): number {
  if (errors.length > 0) return 70;
  return isStrict && results.some(({ ok }) => ok === false) ? 1 : 0;
}

function resultOf({ workload, samples }: Measured, metric: Metric): Result {
  const values = new Map([...samples].map(([name, taken]) => [name as string, taken.map((sample) => sample[metric.name] ?? Number.NaN)]));
  const medians = new Map([...values].map(([name, list]) => [name, median(list)]));
  const ours = medians.get('isthmus');
  const peers = Object.fromEntries([...medians].filter(([name]) => name !== 'isthmus'));
  const ratios = Object.keys(peers).map((name) => [name, ratioOf(values.get('isthmus') ?? [], values.get(name) ?? [])] as const);
  const ratio = Object.fromEntries(ratios.filter(([, value]) => Number.isFinite(value)).map(([name, value]) => [name, rounded(value)]));
  const aims = AIMS[`${workload.name}/${metric.name}`] ?? [];
  const verdicts = aims.map((aim) => meets(aim, ours ?? Number.NaN, ratio));
  return {
    workload: workload.name,
    metric: metric.name,
    unit: metric.unit,
    better: metric.better,
    ours: ours === undefined ? null : rounded(ours),
    peers: Object.fromEntries(Object.entries(peers).map(([name, value]) => [name, rounded(value)])),
    ratio,
    spread: Object.fromEntries([...values].map(([name, list]) => [name, rounded(spread(list))])),
    aim: aims.length === 0 ? null : aims.map(aimText).join(', '),
    ok: verdicts.includes(false) ? false : verdicts.length === 0 || verdicts.includes(undefined) ? null : true,
  };
}

/** Four significant digits: more would be noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
