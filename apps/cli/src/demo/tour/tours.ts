// The scripted walks of `--check`, by name.
import { fail } from '../../errors.ts';
import type { Federation } from '../federation.ts';
import type { Tour } from '../report.ts';
import type { Start } from '../start.ts';

/** What a walk is handed: the federation as it starts, and the record to write steps and figures to. */
export type Walk = {
  readonly federation: Federation;
  readonly start: Start;
  /** Settles when the lines of the start are printed. */
  readonly progress: Promise<void>;
  readonly record: Tour;
  /** When the command began, on the monotonic clock. */
  readonly beganMonotonicMs: number;
};

const TOURS: Readonly<Record<string, () => Promise<(walk: Walk) => Promise<void>>>> = {
  main: async () => (await import('./main.ts')).walkMain,
  trust: async () => (await import('./trust.ts')).walkTrust,
  vm: async () => (await import('./vm.ts')).walkVm,
};

/** Why a tour cannot be walked on this machine, of those that need more than the sources. */
const NEEDS: Readonly<Record<string, () => Promise<string | undefined>>> = {
  vm: async () => (await import('./vm.ts')).whyNoVm(),
};

/** Finds a tour and loads it; `whyNot` says why it cannot be walked here. Throws CLI_TOUR_UNKNOWN. */
export async function findTour(name: string): Promise<{ readonly name: string; readonly walk: (walk: Walk) => Promise<void>; readonly whyNot: string | undefined }> {
  const load = Object.hasOwn(TOURS, name) ? TOURS[name] : undefined;
  if (load === undefined) throw fail('CLI_TOUR_UNKNOWN', `there is no tour ${JSON.stringify(name)}`, { hint: `tours: ${Object.keys(TOURS).join(', ')}` });
  return { name, walk: await load(), whyNot: Object.hasOwn(NEEDS, name) ? await NEEDS[name]?.() : undefined };
}
