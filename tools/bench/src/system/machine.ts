// What machine a run was on: figures without it say nothing.
import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os';

export type Machine = { readonly cpu: string; readonly cores: number; readonly memoryGiB: number; readonly system: string; readonly architecture: string };

export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    architecture: arch(),
  };
}

/** How many descriptors a process started from here may hold: the hard limit. */
export function openFilesLimit(): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024';
  return hard === 'unlimited' ? 1_048_576 : Math.min(Number(hard), 1_048_576);
}
