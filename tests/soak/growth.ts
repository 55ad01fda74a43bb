// Whether a process grew: the last third of a run against the second, the first being warm-up.
import { readFileSync } from 'node:fs';

export type Sample = {
  readonly atMs: number;
  readonly processes: readonly { readonly name: string; readonly residentMib: number; readonly descriptors: number }[];
};

/** Medians over the thirds of a run. */
export type Growth = {
  readonly name: string;
  readonly residentMib: readonly [number, number, number];
  readonly descriptors: readonly [number, number, number];
  readonly ok: boolean;
  /** What grew, in words; empty where nothing did. */
  readonly problem: string;
};

/** A garbage collector's heap breathes: less than this is no growth. */
const SLACK_MIB = 16;
const SLACK_SHARE = 0.1;
/** Pooled connections come and go with endpoints. */
const SLACK_DESCRIPTORS = 24;

/** In a shorter run a heap is still finding its size. */
const MEMORY_AFTER_MS = 170_000;

/** Judges each process by itself; memory only in a run of three minutes or more. */
export function verdictOf(samples: readonly Sample[]): readonly Growth[] {
  const judgesMemory = (samples.at(-1)?.atMs ?? 0) >= MEMORY_AFTER_MS;
  const names = [...new Set(samples.flatMap((s) => s.processes.map((p) => p.name)))].sort();
  return names.map((name) => {
    const own = samples.flatMap((s) => s.processes.filter((p) => p.name === name));
    const third = Math.floor(own.length / 3);
    const thirds = [own.slice(0, third), own.slice(third, 2 * third), own.slice(2 * third)] as const;
    const medians = (of: (p: (typeof own)[number]) => number): [number, number, number] => [median(thirds[0].map(of)), median(thirds[1].map(of)), median(thirds[2].map(of))];
    const residentMib = medians((p) => p.residentMib);
    // A heap that shrank meanwhile and came back did not grow.
    const peak = Math.max(residentMib[0], residentMib[1]);
    const descriptors = medians((p) => p.descriptors);
    const problems = [
      ...(judgesMemory && residentMib[2] > peak + Math.max(SLACK_MIB, peak * SLACK_SHARE) ? [`resident memory grew from ${residentMib[1]} to ${residentMib[2]} MiB`] : []),
      ...(descriptors[2] > descriptors[1] + SLACK_DESCRIPTORS ? [`descriptors grew from ${descriptors[1]} to ${descriptors[2]}`] : []),
    ];
    return { name, residentMib, descriptors, ok: problems.length === 0, problem: problems.join('; ') };
  });
}

/** Resident memory of a process in MiB (proc(5), VmRSS). */
export function residentMib(pid: number): number {
  const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  return Math.round(kib / 102.4) / 10;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
