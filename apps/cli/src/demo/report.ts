// What `--check` found: steps that hold or do not, and figures that are no conditions.
import { writeFileSync } from 'node:fs';
import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { IsthmusError, messageOf } from '@isthmus/model';
import { systemClock } from '@isthmus/runtime';

/** One step: its name, whether it held, what was measured, and the measurements as numbers. */
export type Step = { readonly name: string; readonly ok: boolean; readonly detail: string; readonly durationMs: number; readonly measured?: Measured };
export type Measured = Readonly<Record<string, unknown>>;
export type Report = { readonly tour: string; readonly store: string; readonly ok: boolean; readonly skipped?: string; readonly steps: readonly Step[]; readonly figures: Measured; readonly durationMs: number };

/** What a step answers when it holds; it throws when it does not. */
export type StepResult = { readonly detail: string; readonly measured?: Measured };

export interface Tour {
  /** Runs one step, prints its line, and goes on whether it held or not; answers whether it held. */
  step(name: string, run: () => Promise<StepResult>): Promise<boolean>;
  figure(name: string, value: unknown): void;
  report(): Report;
}

/** Opens the record of one walk. */
export function openTour(options: { readonly tour: string; readonly store: string; readonly stdout: Pick<Writable, 'write'> }): Tour {
  const startedMonotonicMs = systemClock.monotonicMs();
  const steps: Step[] = [];
  const figures: Record<string, unknown> = {};
  const record = (step: Step): boolean => {
    steps.push(step);
    options.stdout.write(`${step.ok ? 'ok  ' : 'FAIL'} ${step.name} (${step.durationMs} ms): ${step.detail}\n`);
    return step.ok;
  };
  return {
    step: async (name, run) => {
      const stepStartedMonotonicMs = systemClock.monotonicMs();
      const durationMs = (): number => Math.round(systemClock.monotonicMs() - stepStartedMonotonicMs);
      try {
        const { detail, measured } = await run();
        return record({ name, ok: true, detail, durationMs: durationMs(), ...(measured === undefined ? {} : { measured }) });
      } catch (error) {
        return record({ name, ok: false, detail: describe(error), durationMs: durationMs() });
      }
    },
    figure: (name, value) => {
      figures[name] = value;
    },
    report: () => ({
      tour: options.tour,
      store: options.store,
      // A walk without steps has shown nothing.
      ok: steps.length > 0 && steps.every((step) => step.ok),
      steps,
      figures,
      durationMs: Math.round(systemClock.monotonicMs() - startedMonotonicMs),
    }),
  };
}

/** Writes the report where `--report` says. */
export function writeReport(file: string, report: Report): void {
  mkdirSync(dirname(resolve(file)), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
}

function describe(error: unknown): string {
  const hint = error instanceof IsthmusError && error.hint !== undefined ? ` (${error.hint})` : '';
  return `${messageOf(error)}${hint}`;
}
