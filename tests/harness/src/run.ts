// The CLI as a person runs it.
import { type ChildProcess, spawn } from 'node:child_process';
import { type Finished, moduleOf, run, type RunOptions } from '@isthmus/cli/demo';

const ISTHMUS = moduleOf('apps/cli/src/main.ts');

/** Runs `isthmus` with these arguments. */
export function isthmus(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run(process.execPath, [ISTHMUS, ...args], options);
}

/** Starts `isthmus` and leaves it running; the caller ends it. */
export function isthmusProcess(args: readonly string[], options: { readonly cwd?: string } = {}): ChildProcess {
  return spawn(process.execPath, [ISTHMUS, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
}
