// Metrics: names declared once, labels from closed sets, label sets bounded so that no attacker can grow them.
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;
/** What every metric with labels can do: forget a label set whose subject is gone. What was folded into `other` stays there. */
export interface Forgetful {
  remove(labels: Labels): void;
}
export interface Counter extends Forgetful {
  inc(labels?: Labels, by?: number): void;
  /** The same counter with its labels chosen once, for hot paths: an increment is an addition, read when `text` is. */
  bind(labels: Labels): BoundCounter;
}
export interface BoundCounter {
  inc(by?: number): void;
}
export interface Gauge extends Forgetful {
  set(value: number, labels?: Labels): void;
}
export interface Histogram extends Forgetful {
  observe(value: number, labels?: Labels): void;
}

/** The metrics of one process. Asking for the same name twice gives the same metric; as another kind is a TypeError. */
export interface Metrics {
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  histogram(name: string, help: string, labels?: readonly string[], buckets?: readonly number[]): Histogram;
  /** Everything in Prometheus' text format 0.0.4. */
  text(): Promise<string>;
}

/** Label sets one metric may have; any further one is counted under `other` (reliability 83). */
const MAX_LABEL_SETS = 1_000;

/** Opens an empty set of metrics. **Throws** TypeError for a name that does not begin with `isthmus_`. */
export function openMetrics(): Metrics {
  const registry = new Registry();
  const known = new Map<string, { readonly kind: string; readonly metric: unknown }>();
  const once = <M>(kind: string, name: string, make: () => M): M => {
    const before = known.get(name);
    if (before?.kind === kind) return before.metric as M;
    if (before !== undefined) throw new TypeError(`metric ${name} is a ${before.kind} already, not a ${kind}`);
    if (!name.startsWith('isthmus_')) throw new TypeError(`metric ${name} must begin with isthmus_`);
    const metric = make();
    known.set(name, { kind, metric });
    return metric;
  };
  const counter = (name: string, help: string, labels: readonly string[] = []): Counter =>
    once('counter', name, () => {
      const bound = boundLabels(labels, () => folded.inc({ metric: name }));
      const keyOf = (given: Labels): string => JSON.stringify(labels.map((label) => given[label]));
      const waiting = new Map<string, { readonly labels: Labels; count: number }>();
      const settle = (): void => {
        for (const w of waiting.values()) {
          if (w.count > 0) metric.inc(bound.take(w.labels), w.count);
          w.count = 0;
        }
      };
      const metric: PromCounter = new PromCounter({ name, help, labelNames: [...labels], registers: [registry], collect: settle });
      return {
        inc: (given = {}, by = 1) => metric.inc(bound.take(given), by),
        remove: (given) => {
          const known = waiting.get(keyOf(given));
          if (known !== undefined) known.count = 0;
          if (bound.forget(given)) metric.remove(given);
        },
        bind: (given) => {
          const key = keyOf(given);
          const known = waiting.get(key) ?? { labels: given, count: 0 };
          waiting.set(key, known);
          return { inc: (by = 1) => void (known.count += by) };
        },
      };
    });
  const folded = counter('isthmus_metric_label_sets_folded_total', 'Observations counted under `other` because their metric has too many label sets', ['metric']);
  return {
    counter,
    gauge: (name, help, labels = []) =>
      once('gauge', name, () => {
        const metric = new PromGauge({ name, help, labelNames: [...labels], registers: [registry] });
        const bound = boundLabels(labels, () => folded.inc({ metric: name }));
        return { set: (value, given = {}) => metric.set(bound.take(given), value), remove: (given) => bound.forget(given) && metric.remove(given) };
      }),
    histogram: (name, help, labels = [], buckets) =>
      once('histogram', name, () => {
        const metric = new PromHistogram({ name, help, labelNames: [...labels], registers: [registry], ...(buckets && { buckets: [...buckets] }) });
        const bound = boundLabels(labels, () => folded.inc({ metric: name }));
        return { observe: (value, given = {}) => metric.observe(bound.take(given), value), remove: (given) => bound.forget(given) && metric.remove(given) };
      }),
    text: () => registry.metrics(),
  };
}

type BoundLabels = {
  /** The label set to count under. */
  readonly take: (labels: Labels) => Labels;
  /** Makes room for another one; whether it was known. */
  readonly forget: (labels: Labels) => boolean;
};

/** Lets label sets through until there are too many, then folds new ones into `other`. */
function boundLabels(names: readonly string[], onFold: () => void): BoundLabels {
  const seen = new Set<string>();
  const keyOf = (labels: Labels): string => JSON.stringify(names.map((name) => labels[name]));
  const other = Object.fromEntries(names.map((name) => [name, 'other']));
  return {
    forget: (labels) => seen.delete(keyOf(labels)),
    take: (labels) => {
      if (names.length === 0) return labels;
      const key = keyOf(labels);
      if (seen.has(key)) return labels;
      if (seen.size >= MAX_LABEL_SETS) {
        onFold();
        return other;
      }
      seen.add(key);
      return labels;
    },
  };
}
