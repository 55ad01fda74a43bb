// The catalogues of error codes and metrics, read out of the sources that declare them.

/** One declared error code. `source` is the file it stands in. */
export type ErrorEntry = { readonly code: string; readonly class: string; readonly doc: string; readonly source: string };

/** One declared metric. */
export type MetricEntry = { readonly name: string; readonly kind: 'counter' | 'gauge' | 'histogram'; readonly help: string; readonly labels: readonly string[]; readonly source: string };

const ERROR = /\b([A-Z][A-Z0-9_]+):\s*\{\s*class:\s*'([a-z-]+)',\s*doc:\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"),?\s*\}/g;
const METRIC = /\b(counter|gauge|histogram)\(\s*'([\w]+)',\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")(?:,\s*\[([^\]]*)\])?/g;

/** The codes that a file's `defineErrors({…})` declares. */
export function errorsIn(source: string, text: string): readonly ErrorEntry[] {
  if (!text.includes('defineErrors(')) return [];
  return [...text.matchAll(ERROR)].map(([, code = '', errorClass = '', single, double]) => ({ code, class: errorClass, doc: unescape(single ?? double ?? ''), source }));
}

/** The metrics that a file declares, as `metrics.counter('isthmus_…', 'help', ['label'])`. */
export function metricsIn(source: string, text: string): readonly MetricEntry[] {
  return [...text.matchAll(METRIC)].map(([, kind, name = '', single, double, labels = '']) => ({
    name,
    kind: kind as MetricEntry['kind'],
    help: unescape(single ?? double ?? ''),
    labels: [...labels.matchAll(/'([^']+)'/g)].map((match) => match[1] ?? ''),
    source,
  }));
}

/** Entries with the same name that are declared in more than one place, as sentences. */
export function duplicates(entries: readonly { readonly name: string; readonly source: string }[]): readonly string[] {
  const sources = new Map<string, string[]>();
  for (const { name, source } of entries) sources.set(name, [...(sources.get(name) ?? []), source]);
  return [...sources].filter(([, places]) => places.length > 1).map(([name, places]) => `${name} is declared in ${places.join(' and ')}`);
}

function unescape(text: string): string {
  return text.replaceAll(/\\(['"\\])/g, '$1');
}
