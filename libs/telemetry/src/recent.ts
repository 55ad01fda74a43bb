// The lines a program wrote last, kept for who asks at its socket: bounded in number and in size, oldest first to go.
import type { LogLevel } from './log.ts';

/** One line as JSON, whatever form it was written in. */
export type RecentLine = { readonly level: LogLevel; readonly line: string };

const MAX_LINES = 2_000;
const MAX_CHARS = 1024 * 1024;
const RANKS: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };

/** Whether a line of `level` is at least as grave as `wanted`. */
export function isAtLeast(level: LogLevel, wanted: LogLevel): boolean {
  return RANKS[level] <= RANKS[wanted];
}

export class RecentLines {
  readonly #lines: RecentLine[] = [];
  readonly #listeners = new Set<(line: RecentLine) => void>();
  #chars = 0;

  add(line: RecentLine): void {
    this.#lines.push(line);
    this.#chars += line.line.length;
    while (this.#lines.length > MAX_LINES || (this.#chars > MAX_CHARS && this.#lines.length > 1)) this.#chars -= this.#lines.shift()?.line.length ?? 0;
    for (const fn of this.#listeners) fn(line);
  }

  /** The newest `count` lines at least as grave as `level`, oldest first. */
  last(count: number, level: LogLevel): readonly RecentLine[] {
    if (count <= 0) return [];
    return this.#lines.filter((line) => isAtLeast(line.level, level)).slice(-count);
  }

  /** Calls `fn` with each line from now on; returns an unsubscribe. */
  onLine(fn: (line: RecentLine) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }
}
