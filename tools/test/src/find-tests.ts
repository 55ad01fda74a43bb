// Which test files there are, and in which stage each runs.
import { globSync } from 'node:fs';

/** Files of one stage; `concurrency` of them run at a time. */
export type Stage = { readonly name: string; readonly files: readonly string[]; readonly concurrency: number; readonly timeoutMs: number };

/** Fast failures first. Tests of whole processes run one at a time: they measure, and they share the machine's ports. */
const STAGES: readonly (Omit<Stage, 'files'> & { readonly patterns: readonly string[] })[] = [
  { name: 'architecture', patterns: ['tests/architecture/**/*.test.ts'], concurrency: 1, timeoutMs: 60_000 },
  { name: 'unit', patterns: ['{libs,tools,apps}/*/src/**/*.test.ts'], concurrency: 2, timeoutMs: 180_000 },
  { name: 'whole processes', patterns: ['tests/{harness,e2e,interop,netns,reliability,soak}/**/*.test.ts'], concurrency: 1, timeoutMs: 240_000 },
  // They make a Debian of their own first.
  { name: 'packages', patterns: ['tests/packages/**/*.test.ts'], concurrency: 1, timeoutMs: 480_000 },
];

/** The stages under `root` with their files, sorted; `only` keeps files whose path contains it or matches it as a pattern. */
export function findTests(root: string, only?: string): readonly Stage[] {
  return STAGES.map(({ patterns, ...stage }) => ({
    ...stage,
    files: globSync([...patterns], { cwd: root, exclude: ['**/node_modules/**'] })
      .map((file) => file.replaceAll('\\', '/'))
      .filter((file) => only === undefined || matches(file, only))
      .sort(),
  })).filter((stage) => stage.files.length > 0);
}

function matches(file: string, only: string): boolean {
  if (file.includes(only)) return true;
  try {
    return new RegExp(only).test(file);
  } catch {
    return false;
  }
}
