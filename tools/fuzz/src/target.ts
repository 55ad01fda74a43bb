// What a `*.fuzz.ts` file must export, found under a root and checked when it is loaded.
import { globSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A parser under fuzzing. `run` throws only when a promise is broken; refusing an input is no failure. */
export type FuzzTarget = {
  /** Lower-case words with dashes; its findings are kept in `testdata/fuzz/<name>/` beside the file. */
  readonly name: string;
  /** Good inputs to start from; at least one. */
  readonly seeds: readonly Buffer[];
  /** Words of the format, put into inputs now and then. */
  readonly dictionary?: readonly (string | Buffer)[];
  /** Longest input made; 4 KiB without it, at most 64 KiB. */
  readonly maxBytes?: number;
  /** Takes one input. It must not keep it: the bytes change after the call. */
  run(input: Buffer): void;
};

export const DEFAULT_MAX_BYTES = 4_096;
export const LARGEST_MAX_BYTES = 65_536;

/** All files of targets in libs, apps and tools under `root`, as paths relative to it, sorted. */
export function findTargets(root: string): readonly string[] {
  return globSync('{libs,apps,tools}/*/src/**/*.fuzz.ts', { cwd: root, exclude: ['**/node_modules/**'] })
    .map((file) => file.replaceAll('\\', '/'))
    .sort();
}

/** Loads a file's target. **Throws** an Error that says what is wrong with the file. */
export async function loadTarget(root: string, file: string): Promise<FuzzTarget> {
  const loaded = (await import(pathToFileURL(join(root, file)).href)) as { readonly target?: unknown };
  const problem = problemOf(loaded.target);
  if (problem !== undefined) throw new Error(`${file}: ${problem}`);
  return loaded.target as FuzzTarget;
}

/** What keeps a value from being a target, or undefined. */
export function problemOf(target: unknown): string | undefined {
  if (typeof target !== 'object' || target === null) return 'exports no `target` object';
  const { name, seeds, dictionary, maxBytes, run } = target as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string' || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) return 'target.name must be lower-case words with dashes';
  if (!Array.isArray(seeds) || seeds.length === 0 || !seeds.every((seed) => Buffer.isBuffer(seed))) return 'target.seeds must be at least one Buffer';
  if (typeof run !== 'function') return 'target.run must be a function';
  if (run.constructor.name === 'AsyncFunction') return 'target.run must not be async: what it throws later would be missed';
  if (dictionary !== undefined && !(Array.isArray(dictionary) && dictionary.every((word) => (typeof word === 'string' || Buffer.isBuffer(word)) && word.length > 0))) return 'target.dictionary must be strings or Buffers, none empty';
  if (maxBytes !== undefined && !(Number.isInteger(maxBytes) && (maxBytes as number) >= 1 && (maxBytes as number) <= LARGEST_MAX_BYTES)) return `target.maxBytes must be 1 to ${LARGEST_MAX_BYTES}`;
  return undefined;
}

/** Where the inputs that once broke a target are kept. */
export function corpusDirectory(root: string, file: string, name: string): string {
  return join(root, dirname(file), 'testdata', 'fuzz', name);
}

/** What people call a target before it is loaded: its file's name. */
export function fileLabel(file: string): string {
  return basename(file, '.fuzz.ts');
}
