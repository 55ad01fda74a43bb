// The end of every `--check`: what a walk found is said and written; and the walks that make a federation of their own.
import type { CommandContext } from '../context.ts';
import type { Options } from '../tree/action.ts';
import type { StoreKind } from './federation.ts';
import { parsePortRange } from './ports.ts';
import { openTour, type Tour, writeReport } from './report.ts';
import type { AloneWalk } from './tour/tours.ts';

const FAILED_EXIT = 70;
const INTERRUPTED_EXIT = 130;
export const END_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Says what a walk found, writes it where `--report` says, and sets the exit code. */
export function tellReport(context: CommandContext, record: Tour, options: Options): void {
  const report = record.report();
  if (typeof options['report'] === 'string') writeReport(options['report'], report);
  context.stdout.write(`${report.ok ? 'all steps hold' : 'NOT all steps hold'}: ${report.steps.filter((s) => s.ok).length} of ${report.steps.length} in ${(report.durationMs / 1_000).toFixed(1)} s\n`);
  for (const [name, value] of Object.entries(report.figures)) context.stdout.write(`  ${name}: ${JSON.stringify(value)}\n`);
  if (!report.ok) process.exitCode = FAILED_EXIT;
}

/** Walks a tour that needs no demo. A signal ends it in order: it cleans up, and the report is written. */
export async function walkAlone(context: CommandContext, tour: { readonly name: string; readonly walk: (walk: AloneWalk) => Promise<void> }, store: StoreKind, options: Options): Promise<void> {
  const { from, to } = parsePortRange(String(options['ports']));
  const record = openTour({ tour: tour.name, store, stdout: context.stdout });
  const abort = new AbortController();
  const onSignal = (): void => abort.abort();
  for (const signal of END_SIGNALS) process.on(signal, onSignal);
  try {
    await tour.walk({ record, store, ports: Array.from({ length: to - from + 1 }, (_, i) => from + i), signal: abort.signal });
  } finally {
    for (const signal of END_SIGNALS) process.removeListener(signal, onSignal);
    tellReport(context, record, options);
  }
  if (abort.signal.aborted) process.exitCode = INTERRUPTED_EXIT;
}
