// Metrics: names declared once, labels from closed sets, label sets bounded so that no attacker can grow them.
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;
export interface Counter {
  inc(labels?: Labels, by?: number): void;
}
export interface Gauge {
  set(value: number, labels?: Labels): void;
}
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

/** The metrics of one process. Asking for the same name twice gives the same metric. */
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
  const known = new Map<string, Counter | Gauge | Histogram>();
  const once = <M extends Counter | Gauge | Histogram>(name: string, make: () => M): M => {
    if (!name.startsWith('isthmus_')) throw new TypeError(`metric ${name} must begin with isthmus_`);
    const before = known.get(name);
    if (before !== undefined) return before as M;
    const made = make();
    known.set(name, made);
    return made;
  };
  return {
    counter: (name, help, labels = []) =>
      once(name, () => {
        const metric = new PromCounter({ name, help, labelNames: [...labels], registers: [registry] });
        const bound = boundLabels();
        return { inc: (given = {}, by = 1) => metric.inc(bound(given), by) };
      }),
    gauge: (name, help, labels = []) =>
      once(name, () => {
        const metric = new PromGauge({ name, help, labelNames: [...labels], registers: [registry] });
        const bound = boundLabels();
        return { set: (value, given = {}) => metric.set(bound(given), value) };
      }),
    histogram: (name, help, labels = [], buckets) =>
      once(name, () => {
        const metric = new PromHistogram({ name, help, labelNames: [...labels], registers: [registry], ...(buckets && { buckets: [...buckets] }) });
        const bound = boundLabels();
        return { observe: (value, given = {}) => metric.observe(bound(given), value) };
      }),
    text: () => registry.metrics(),
  };
}

/** Lets label sets through until there are too many, then folds new ones into `other`. */
function boundLabels(): (labels: Labels) => Labels {
  const seen = new Set<string>();
  return (labels) => {
    const key = Object.values(labels).join('\u0000');
    if (key === '' || seen.has(key)) return labels;
    if (seen.size < MAX_LABEL_SETS) {
      seen.add(key);
      return labels;
    }
    return Object.fromEntries(Object.keys(labels).map((name) => [name, 'other']));
  };
}
