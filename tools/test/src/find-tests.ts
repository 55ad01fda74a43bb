// Which test files there are, and in which stage each runs.
import { globSync } from 'node:fs';

/** Files of one stage; `concurrency` of them run at a time. */
export type Stage = { readonly name: string; readonly files: readonly string[]; readonly concurrency: number; readonly timeoutMs: number };

/** Of whole processes, those that load the machine or watch how long something takes; nothing runs beside them. */
const ALONE = [
  'tests/{netns,soak}/**/*.test.ts',
  'tests/e2e/{admin-api-scale,main-walk,partition,rotation,store-away,up}.test.ts',
  'tests/reliability/{bad-link,descriptors,few-ports,stalled-process}.test.ts',
];

/** Fast failures first. */
const STAGES: readonly (Omit<Stage, 'files'> & { readonly patterns: readonly string[]; readonly but?: readonly string[] })[] = [
  { name: 'architecture', patterns: ['tests/architecture/**/*.test.ts'], concurrency: 1, timeoutMs: 60_000 },
  { name: 'unit', patterns: ['{libs,tools,apps}/*/src/**/*.test.ts'], concurrency: 2, timeoutMs: 180_000 },
  { name: 'whole processes', patterns: ['tests/{harness,e2e,interop,reliability}/**/*.test.ts'], but: ALONE, concurrency: 2, timeoutMs: 300_000 },
  { name: 'whole processes, one at a time', patterns: ALONE, concurrency: 1, timeoutMs: 240_000 },
  // They make a Debian of their own first.
  { name: 'packages', patterns: ['tests/packages/**/*.test.ts'], concurrency: 1, timeoutMs: 480_000 },
];

/** The stages under `root` with their files, sorted; `only` keeps files whose path contains it or matches it as a pattern. */
export function findTests(root: string, only?: string): readonly Stage[] {
  return STAGES.map(({ patterns, but = [], ...stage }) => ({
    ...stage,
    files: globSync([...patterns], { cwd: root, exclude: ['**/node_modules/**', ...but] })
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
