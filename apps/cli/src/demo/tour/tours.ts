// The scripted walks of `--check`, by name.
import { fail } from '../../errors.ts';
import type { Federation, StoreKind } from '../federation.ts';
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

/** What a walk is handed that makes its own federation: the record, ports it may use, and the word that it is to end. */
export type AloneWalk = { readonly record: Tour; readonly store: StoreKind; readonly ports: readonly number[]; readonly signal: AbortSignal };

/** A walk through the demo, or one by itself; `whyNot` says why it cannot be walked here. */
export type TourPlan = { readonly name: string; readonly whyNot: string | undefined } & (
  | { readonly kind: 'demo'; readonly walk: (walk: Walk) => Promise<void> }
  | { readonly kind: 'alone'; readonly walk: (walk: AloneWalk) => Promise<void> }
);

const TOURS: Readonly<Record<string, () => Promise<TourPlan>>> = {
  main: async () => ({ name: 'main', kind: 'demo', whyNot: undefined, walk: (await import('./main.ts')).walkMain }),
  trust: async () => ({ name: 'trust', kind: 'demo', whyNot: undefined, walk: (await import('./trust.ts')).walkTrust }),
  vm: async () => {
    const { walkVm, whyNoVm } = await import('./vm.ts');
    return { name: 'vm', kind: 'demo', whyNot: whyNoVm(), walk: walkVm };
  },
  terraform: async () => {
    const [{ walkTerraform }, { whyNoTerraform }] = await Promise.all([import('./terraform.ts'), import('./terraform-workspace.ts')]);
    return { name: 'terraform', kind: 'alone', whyNot: whyNoTerraform(), walk: walkTerraform };
  },
};

/** Finds a tour and loads it. Throws CLI_TOUR_UNKNOWN. */
export async function findTour(name: string): Promise<TourPlan> {
  const load = Object.hasOwn(TOURS, name) ? TOURS[name] : undefined;
  if (load === undefined) throw fail('CLI_TOUR_UNKNOWN', `there is no tour ${JSON.stringify(name)}`, { hint: `tours: ${Object.keys(TOURS).join(', ')}` });
  return load();
}
