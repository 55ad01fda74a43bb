// Logs and metrics of a worker: gathered there, handed to the main thread, written by it.
import type { Counter, Gauge, Histogram, Labels, Log, LogFields, LogLevel, Metrics } from '@isthmus/telemetry';
import type { LogMessage, MetricMessage } from './messages.ts';

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];
/** Lines a worker hands over in a second; more are counted. */
const MAX_LINES_A_SECOND = 500;
/** Observations of one histogram kept until the next hand-over. */
const MAX_OBSERVATIONS = 10_000;

/** A log whose lines go to the main thread. **Bounds** the lines a second. */
export class RelayedLog {
  readonly #post: (message: LogMessage) => void;
  readonly #enabled: ReadonlySet<LogLevel>;
  #lines = 0;
  #heldBack = 0;

  constructor(level: LogLevel, post: (message: LogMessage) => void) {
    this.#post = post;
    this.#enabled = new Set(LEVELS.slice(0, LEVELS.indexOf(level) + 1));
  }

  log(base: LogFields = {}): Log {
    const write = (level: LogLevel, message: string, fields: LogFields = {}): void => {
      if (!this.#enabled.has(level)) return;
      this.#lines += 1;
      if (this.#lines > MAX_LINES_A_SECOND) this.#heldBack += 1;
      else this.#post({ kind: 'log', level, message, fields: { ...base, ...fields } });
    };
    return {
      error: (message, fields) => write('error', message, fields),
      warn: (message, fields) => write('warn', message, fields),
      info: (message, fields) => write('info', message, fields),
      debug: (message, fields) => write('debug', message, fields),
      isEnabled: (level) => this.#enabled.has(level),
      with: (fields) => this.log({ ...base, ...fields }),
    };
  }

  /** Begins a new second. */
  tick(): void {
    this.#lines = 0;
    if (this.#heldBack === 0) return;
    this.#post({ kind: 'log', level: 'warn', message: 'log lines of the data path were held back', fields: { heldBack: this.#heldBack } });
    this.#heldBack = 0;
  }
}

type Family = { readonly kind: 'counter' | 'gauge' | 'histogram'; readonly help: string; readonly labelNames: readonly string[]; readonly buckets: readonly number[] | undefined; readonly series: Map<string, Series> };
type Series = { readonly labels: Labels; value: number; changed: boolean; values: number[] };

/** Metrics that only gather; `take` hands over what changed. */
export class RelayedMetrics implements Metrics {
  readonly #families = new Map<string, Family>();
  #removed: MetricMessage[] = [];

  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    const family = this.#family('counter', name, help, labels);
    const bind = (given: Labels): { inc(by?: number): void } => {
      const series = seriesOf(family, given);
      return {
        inc: (by = 1) => {
          series.value += by;
          series.changed = true;
        },
      };
    };
    return { inc: (given = {}, by = 1) => bind(given).inc(by), bind, remove: (given) => this.#remove(family, name, given) };
  }

  gauge(name: string, help: string, labels: readonly string[] = []): Gauge {
    const family = this.#family('gauge', name, help, labels);
    return {
      set: (value, given = {}) => {
        const series = seriesOf(family, given);
        series.value = value;
        series.changed = true;
      },
      remove: (given) => this.#remove(family, name, given),
    };
  }

  histogram(name: string, help: string, labels: readonly string[] = [], buckets?: readonly number[]): Histogram {
    const family = this.#family('histogram', name, help, labels, buckets);
    return {
      observe: (value, given = {}) => {
        const series = seriesOf(family, given);
        if (series.values.length < MAX_OBSERVATIONS) series.values.push(value);
        series.changed = true;
      },
      remove: (given) => this.#remove(family, name, given),
    };
  }

  #remove(family: Family, name: string, labels: Labels): void {
    if (!family.series.delete(keyOf(family, labels))) return;
    this.#removed.push({ kind: 'removed', of: family.kind, name, help: family.help, labelNames: family.labelNames, labels });
  }

  /** Nothing: the main thread has the text. */
  text(): Promise<string> {
    return Promise.resolve('');
  }

  #family(kind: Family['kind'], name: string, help: string, labelNames: readonly string[], buckets?: readonly number[]): Family {
    let family = this.#families.get(name);
    if (family === undefined) this.#families.set(name, (family = { kind, help, labelNames, buckets, series: new Map() }));
    if (family.kind !== kind) throw new TypeError(`metric ${name} is a ${family.kind} already, not a ${kind}`);
    return family;
  }

  /** What changed since the last time. */
  take(): MetricMessage[] {
    const messages = this.#removed;
    this.#removed = [];
    for (const [name, { kind, help, labelNames, buckets, series }] of this.#families) {
      for (const s of series.values()) {
        if (!s.changed) continue;
        s.changed = false;
        if (kind === 'histogram') messages.push({ kind, name, help, labelNames, buckets, labels: s.labels, values: s.values });
        else messages.push({ kind, name, help, labelNames, labels: s.labels, value: s.value });
        if (kind === 'counter') s.value = 0;
        s.values = [];
      }
    }
    return messages;
  }
}

function keyOf(family: Family, labels: Labels): string {
  let key = '';
  for (const name of family.labelNames) key += `${labels[name] ?? ''}\0`;
  return key;
}

function seriesOf(family: Family, labels: Labels): Series {
  const key = keyOf(family, labels);
  let series = family.series.get(key);
  if (series === undefined) family.series.set(key, (series = { labels, value: 0, changed: false, values: [] }));
  return series;
}

/** Writes what a worker handed over into the process's own metrics, which bound the label sets. */
export function applyMetrics(metrics: Metrics, messages: readonly MetricMessage[]): void {
  for (const m of messages) {
    if (m.kind === 'removed') metrics[m.of](m.name, m.help, m.labelNames).remove(m.labels);
    else if (m.kind === 'histogram') {
      const histogram = metrics.histogram(m.name, m.help, m.labelNames, m.buckets);
      for (const value of m.values) histogram.observe(value, m.labels);
    } else if (m.kind === 'counter') metrics.counter(m.name, m.help, m.labelNames).inc(m.labels, m.value);
    else metrics.gauge(m.name, m.help, m.labelNames).set(m.value, m.labels);
  }
}
