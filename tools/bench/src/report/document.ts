// Results as JSON, with what one must know to judge them: versions and machine.
import type { MissingProgram, Program } from '../peers/find-program.ts';
import type { Machine } from '../system/machine.ts';
import type { Result } from './results.ts';

export type Run = {
  readonly results: readonly Result[];
  readonly programs: readonly Program[];
  readonly missing: readonly MissingProgram[];
  readonly errors: readonly string[];
  readonly rounds: number;
  readonly isQuick: boolean;
  readonly machine: Machine;
};

/** What `--json` writes. Paths of the machine are left out. */
export function documentOf({ results, programs, missing, errors, rounds, isQuick, machine }: Run, date = new Date()): object {
  return {
    date: date.toISOString(),
    rounds,
    quick: isQuick,
    machine,
    versions: { node: process.version, ...Object.fromEntries(programs.map(({ name, version }) => [name, version])) },
    missing: missing.map(({ name, hint }) => ({ name, hint })),
    errors,
    results,
  };
}

/** The name of a kept run, without an extension: date, processor, cores. */
export function keptName({ cpu, cores }: Machine, date = new Date()): string {
  const words = cpu.toLowerCase().replaceAll(/\((?:r|tm)\)/g, '').match(/[a-z0-9]+/g) ?? ['unknown'];
  return `${date.toISOString().slice(0, 16).replaceAll(':', '')}z-${words.slice(0, 3).join('-')}-${cores}-cores`;
}
