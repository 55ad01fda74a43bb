// The thread that runs a target: kept inputs first, then mutated ones, until the number, the time or a finding ends it.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { Coverage } from './coverage.ts';
import { minimise } from './minimise.ts';
import { Mutator } from './mutate.ts';
import type { Job, WorkerMessage } from './job.ts';
import { corpusDirectory, DEFAULT_MAX_BYTES, type FuzzTarget, loadTarget } from './target.ts';

/** Inputs between two looks at coverage. */
const BATCH = 64;
const MAX_FOUND = 1_024;
/** Inputs between looks at the clock. */
const CHECK_EVERY = 512;
/** Takes between turns of the event loop. */
const TURN_EVERY = 16;
/** The heap is measured after so many inputs and at the end. */
const WARM_AFTER = 8_192;
const MAX_GROWTH_BYTES = 64 * 1_048_576;

const job = workerData as Job;
const state = new Int32Array(job.shared, 0, 2);
const current = Buffer.from(job.shared, 8);
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, no window's.
const tell = (message: WorkerMessage): void => parentPort?.postMessage(message);

/** Thrown through the loop to end it. */
class Broken extends Error {
  readonly input: Buffer;
  readonly kept: string | undefined;
  constructor(input: Buffer, cause: unknown, kept?: string) {
    super('the target threw', { cause });
    this.input = Buffer.from(input);
    this.kept = kept;
  }
}

function runOne(target: FuzzTarget, input: Buffer, kept?: string): void {
  // Whoever watches can read what ran last, should this thread hang or die.
  input.copy(current);
  state[1] = input.length;
  Atomics.add(state, 0, 1);
  try {
    target.run(input);
  } catch (error) {
    throw new Broken(input, error, kept);
  }
}

function breaks(target: FuzzTarget, input: Buffer): boolean {
  try {
    runOne(target, Buffer.from(input));
    return false;
  } catch {
    return true;
  }
}

/** What the target throws at an input, with where. */
function describe(target: FuzzTarget, input: Buffer): string | undefined {
  Error.stackTraceLimit = 10;
  try {
    target.run(Buffer.from(input));
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

function keptInputs(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith('.bin')).sort().map((name) => join(directory, name));
  } catch {
    return [];
  }
}

function usedBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Every input that once broke something, and every seed. */
function replay(target: FuzzTarget): readonly Buffer[] {
  const kept = keptInputs(corpusDirectory(job.root, job.file, target.name));
  for (const path of kept) runOne(target, readFileSync(path), relative(job.root, path));
  for (const seed of target.seeds) runOne(target, Buffer.from(seed));
  return [...target.seeds, ...kept.map((path) => readFileSync(path))];
}

/** Runs inputs until the number or the time is up; `take` runs some and says how many. */
async function untilDone(take: (left: number) => number): Promise<number> {
  const deadlineMs = job.seconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + job.seconds * 1_000;
  let done = 0;
  let turns = 0;
  while (done < job.inputs && performance.now() < deadlineMs) {
    done += take(job.inputs - done);
    // What a target left to the event loop gets its turn.
    if (++turns % TURN_EVERY === 0) await turn();
  }
  return done;
}

/** Under coverage, slowly: keeps each input that reaches something new. */
async function scout(target: FuzzTarget, coverage: Coverage): Promise<void> {
  const mutator = mutatorOf(target, replay(target));
  coverage.grew();
  const found: Buffer[] = [];
  const inputs = await untilDone((left) => {
    const batch = Array.from({ length: Math.min(BATCH, left) }, () => Buffer.from(mutator.next()));
    for (const input of batch) runOne(target, input);
    if (!coverage.grew(false)) return batch.length;
    for (const input of batch) {
      runOne(target, input);
      if (!coverage.grew() || found.length >= MAX_FOUND) continue;
      mutator.keep(input);
      found.push(input);
    }
    return batch.length;
  });
  tell({ kind: 'done', inputs, found, coveredChars: coverage.covered });
}

/** At full speed, from what the scout found. */
async function fuzz(target: FuzzTarget): Promise<void> {
  const mutator = mutatorOf(target, [...replay(target), ...job.found.map((input) => Buffer.from(input))]);
  let warmBytes: number | undefined;
  let done = 0;
  const inputs = await untilDone((left) => {
    const count = Math.min(CHECK_EVERY, left);
    for (let i = 0; i < count; i++) runOne(target, mutator.next());
    done += count;
    if (done >= WARM_AFTER) warmBytes ??= usedBytes();
    return count;
  });
  const growthBytes = warmBytes === undefined ? 0 : usedBytes() - warmBytes;
  if (growthBytes > MAX_GROWTH_BYTES) tell({ kind: 'finding', reason: 'memory', detail: `${Math.round(growthBytes / 1_048_576)} MiB more in use after ${inputs} inputs than after ${WARM_AFTER}` });
  else tell({ kind: 'done', inputs, found: [], coveredChars: 0 });
}

function mutatorOf(target: FuzzTarget, seeds: readonly Buffer[]): Mutator {
  const { dictionary, maxBytes = DEFAULT_MAX_BYTES } = target;
  // The two phases make different inputs of the same seed.
  return new Mutator({ seed: job.seed * 2 + (job.phase === 'scout' ? 1 : 0), seeds, maxBytes, ...(dictionary === undefined ? {} : { dictionary }) });
}

async function main(): Promise<void> {
  const coverage = new Coverage((url) => url.startsWith('file://') && !url.includes('/tools/fuzz/src/'));
  // Before the target is loaded: code compiled earlier would be seen as a whole only.
  if (job.phase === 'scout') coverage.start();
  let target: FuzzTarget;
  try {
    target = await loadTarget(job.root, job.file);
  } catch (error) {
    return tell({ kind: 'invalid', detail: error instanceof Error ? error.message : String(error) });
  }
  tell({ kind: 'ready', name: target.name });
  // Most inputs are refused, many by an Error; a trace of each would be most of the work. The finding gets one.
  Error.stackTraceLimit = 0;
  try {
    if (job.phase === 'scout') await scout(target, coverage);
    else if (job.phase === 'fuzz') await fuzz(target);
    else {
      runOne(target, Buffer.from(job.input));
      tell({ kind: 'done', inputs: 1, found: [], coveredChars: 0 });
    }
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    const input = error.kept === undefined ? minimise(error.input, (shorter) => breaks(target, shorter)) : error.input;
    const detail = describe(target, input) ?? `${String(error.cause)} (only once: the target keeps something from input to input)`;
    tell({ kind: 'finding', reason: 'threw', detail, input, ...(error.kept === undefined ? {} : { kept: error.kept }) });
  }
}

await main();
