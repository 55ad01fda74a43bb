// What people read of a fuzzing run: one line a target, a finding with the command that shows it again, one total.
import type { TargetResult } from './run-target.ts';

const grouped = (count: number): string => count.toLocaleString('en-US');

/** The line that is rewritten while a target runs. */
export function progressText(progress: { readonly name: string; readonly inputs: number; readonly inputsPerSecond: number }): string {
  return `${progress.name}: ${grouped(progress.inputs)} inputs, ${grouped(progress.inputsPerSecond)}/s`;
}

/** `ok    client-hello   1,000,000 inputs   12.1 s   82,645/s   31 ways in   libs/…`. */
export function resultText(result: TargetResult): string {
  if (result.invalid !== undefined) return `BAD   ${result.invalid}`;
  const word = result.finding === undefined ? 'ok  ' : 'FAIL';
  const numbers = `${grouped(result.inputs).padStart(12)} inputs ${result.seconds.toFixed(1).padStart(8)} s ${grouped(result.inputsPerSecond).padStart(9)}/s ${String(result.found).padStart(5)} ways in`;
  return `${word} ${result.name.padEnd(20)} ${numbers}   ${result.file}`;
}

/** What was found and how to see it again. */
export function findingText(result: TargetResult): string {
  const { finding } = result;
  if (finding === undefined) return '';
  const lines = [`     ${finding.reason}: ${finding.detail.replaceAll('\n', '\n       ')}`];
  if (finding.file !== undefined) lines.push(`     input: ${finding.file}${finding.wasKnown ? ' (kept from an earlier run)' : ''}`, `     again: npm run fuzz -- --only ${result.file} --inputs 0`);
  return `${lines.join('\n')}\n`;
}

/** The total, last. */
export function endText(results: readonly TargetResult[]): string {
  const findings = results.filter((r) => r.finding !== undefined).length;
  const inputs = results.reduce((sum, r) => sum + r.inputs, 0);
  return `${results.length} targets, ${grouped(inputs)} inputs, ${findings} findings\n`;
}
