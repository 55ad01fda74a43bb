// What people read of a test run: a line a file, failures as they happen, and one total at the very end.
import type { Ended } from './reporter.ts';
import type { FileResult } from './run-file.ts';

export type Totals = { readonly passed: number; readonly failed: number; readonly skipped: number };

export function totalsOf(results: readonly FileResult[]): Totals {
  const count = (outcome: Ended['outcome']): number => results.reduce((sum, r) => sum + r.ended.filter((e) => e.outcome === outcome).length, 0);
  return { passed: count('passed'), failed: count('failed'), skipped: count('skipped') };
}

/** `ok     1.3 s    27  libs/…`, and below it each failure with what the file wrote. */
export function fileText(result: FileResult): string {
  const failures = result.ended.filter((e) => e.outcome === 'failed');
  const word = failures.length > 0 ? 'FAIL' : 'ok  ';
  const lines = [`${word} ${(result.durationMs / 1_000).toFixed(1).padStart(6)} s ${String(result.ended.length).padStart(5)}  ${result.file}`];
  for (const failure of failures) {
    lines.push(`     ✖ ${failure.name}${failure.line === undefined ? '' : ` (${result.file}:${failure.line})`}`);
    lines.push(indent(failure.reason ?? '', 9));
  }
  if (failures.length > 0 && result.output.trim() !== '') lines.push('     it wrote:', indent(result.output.trimEnd(), 9));
  return lines.join('\n');
}

/** The end of a run: failures once more by name, skipped tests with their reasons, and the total as the last line. */
export function endText(results: readonly FileResult[]): string {
  const of = (outcome: Ended['outcome']): { file: string; test: Ended }[] => results.flatMap((r) => r.ended.filter((e) => e.outcome === outcome).map((test) => ({ file: r.file, test })));
  const lines: string[] = [];
  const failed = of('failed');
  if (failed.length > 0) lines.push('', 'Failed:', ...failed.map(({ file, test }) => `  ${file}: ${test.name}`));
  const skipped = of('skipped');
  if (skipped.length > 0) lines.push('', 'Skipped:', ...skipped.map(({ file, test }) => `  ${file}: ${test.name}: ${test.reason ?? 'no reason given'}`));
  const totals = totalsOf(results);
  lines.push('', `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  return lines.join('\n');
}

function indent(text: string, by: number): string {
  return text.replaceAll(/^/gm, ' '.repeat(by));
}
