// Durations as people write them ("250ms", "5s", "1h") and as programs keep them (milliseconds).
import { quote } from './name.ts';
import { type Parsed, parsed, refused } from './problem.ts';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Parses one number and one unit (ms, s, m, h, d) into milliseconds. */
export function parseDuration(text: string, path = ''): Parsed<number> {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  const unitMs = match?.[2] === undefined ? undefined : UNIT_MS[match[2]];
  if (match?.[1] === undefined || unitMs === undefined) return refused(path, `${quote(text)} is no duration (want 250ms, 5s, 1m, 1h)`);
  return parsed(Math.round(Number(match[1]) * unitMs));
}

/** The two largest units of a duration, for people: `3m 20s`, `1h 5m`, `850ms`. */
export function formatDuration(durationMs: number): string {
  if (Math.round(durationMs) < 1_000) return `${Math.round(durationMs)}ms`;
  const parts: string[] = [];
  let restSeconds = Math.round(durationMs / 1_000);
  for (const [unit, seconds] of [['d', 86_400], ['h', 3_600], ['m', 60], ['s', 1]] as const) {
    const count = Math.floor(restSeconds / seconds);
    restSeconds -= count * seconds;
    if (count > 0 && parts.length < 2) parts.push(`${count}${unit}`);
  }
  return parts.length === 0 ? '0s' : parts.join(' ');
}
