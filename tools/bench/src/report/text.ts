// Results as a table that a person reads: medians with their spread, ratios, aims.
import { PEER_NAMES } from '../peers/launch.ts';
import type { Measured } from '../run.ts';
import type { Result } from './results.ts';

/** The table of one workload, with everything that is not in it named below. */
export function workloadText(measured: Measured, results: readonly Result[]): string {
  const peers = PEER_NAMES.filter((peer) => results.some((result) => result.peers[peer] !== undefined));
  const header = ['', 'unit', 'isthmus', ...peers, ...peers.map((peer) => `÷ ${peer}`), 'aim', ''];
  const rows = results.map((result) => [
    result.metric,
    result.unit,
    figure(result.ours ?? undefined, result.spread['isthmus']),
    ...peers.map((peer) => figure(result.peers[peer], result.spread[peer])),
    ...peers.map((peer) => ratioText(result.ratio[peer])),
    result.aim ?? '',
    verdictText(result),
  ]);
  const lines = [`${measured.workload.name}: ${measured.workload.summary}`, ...columns([header, ...rows])];
  for (const [name, why] of measured.absent) lines.push(`  without ${name}: ${why.split('\n')[0]}`);
  for (const note of measured.notes) lines.push(`  ${note}`);
  return `${lines.join('\n')}\n`;
}

/** What the whole run came to. */
export function endText(results: readonly Result[], errors: readonly string[]): string {
  const missed = results.filter((result) => result.ok === false);
  const lines = missed.map((result) => `missed: ${result.workload} ${result.metric}: ${result.ours} ${result.unit}, aim ${result.aim}`);
  const met = results.filter((result) => result.ok === true).length;
  const open = results.filter((result) => result.aim !== null && result.ok === null).length;
  lines.push(`${met} aims met, ${missed.length} missed, ${open} that could not be judged`);
  return `${[...errors.map((error) => `error: ${error}`), ...lines].join('\n')}\n`;
}

/** Cells under each other: the first two columns to the left, figures to the right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const isFigure = (column: number): boolean => column >= 2 && column < widths.length - 2;
  return rows.map((row) => `  ${row.map((cell, column) => (isFigure(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`.trimEnd());
}

function figure(value: number | undefined, part = 0): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  return `${short(value)} ±${Math.round(part * 100)}%`;
}

function ratioText(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(2);
}

function short(value: number): string {
  const size = Math.abs(value);
  return size >= 100 ? String(Math.round(value)) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function verdictText({ aim, ok }: Result): string {
  if (aim === null) return '';
  return ok === null ? 'not judged' : ok ? 'met' : 'MISSED';
}
