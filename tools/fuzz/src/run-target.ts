// Runs one target in a thread and watches it: a hang or a death of the thread is a finding like a thrown error.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { FindingReason, Job, WorkerMessage } from './job.ts';
import { corpusDirectory, fileLabel, LARGEST_MAX_BYTES } from './target.ts';

export type RunOptions = {
  readonly root: string;
  readonly file: string;
  readonly seed: number;
  readonly inputs: number;
  readonly seconds?: number;
  /** One input may run so long. */
  readonly hangMs: number;
  readonly onProgress?: (progress: { readonly name: string; readonly inputs: number; readonly inputsPerSecond: number }) => void;
};

export type Finding = {
  readonly reason: FindingReason;
  readonly detail: string;
  /** Where the input is kept, relative to the root; none for memory that grows. */
  readonly file?: string;
  /** It was kept before this run. */
  readonly wasKnown: boolean;
};

export type TargetResult = {
  readonly name: string;
  readonly file: string;
  readonly inputs: number;
  readonly seconds: number;
  readonly inputsPerSecond: number;
  /** Inputs that reached something new, and how much source they all reach. */
  readonly found: number;
  readonly coveredChars: number;
  readonly finding?: Finding;
  /** The file is no target. */
  readonly invalid?: string;
};

/** Of the inputs and of the time. */
const SCOUT_SHARE = 0.2;
const MAX_SCOUT_INPUTS = 200_000;
const POLL_MS = 100;
const MAX_HEAP_MB = 1_024;
/** Shorter forms tried of an input that hangs; each costs up to the limit. */
const HANG_TRIES = 12;

type Ended = { readonly name: string; readonly last: Extract<WorkerMessage, { kind: 'finding' | 'done' | 'invalid' }>; readonly inputs: number };

/** Runs a target to its end or its first finding, which is made small and kept beside the target. */
export async function runTarget(options: RunOptions): Promise<TargetResult> {
  const { root, file } = options;
  const startedMs = performance.now();
  const scout = await runThread(options, {
    phase: 'scout',
    inputs: Math.min(Math.ceil(options.inputs * SCOUT_SHARE), MAX_SCOUT_INPUTS),
    ...(options.seconds === undefined ? {} : { seconds: options.seconds * SCOUT_SHARE }),
  });
  const { found, coveredChars } = scout.last.kind === 'done' ? scout.last : { found: [], coveredChars: 0 };
  const ended = scout.last.kind === 'done' && options.inputs > 0 ? await runThread(options, { phase: 'fuzz', found }) : scout;
  const { name, last } = ended;
  const inputs = ended.inputs + (ended === scout ? 0 : scout.inputs);
  const seconds = (performance.now() - startedMs) / 1_000;
  const result = { name, file, inputs, seconds, inputsPerSecond: Math.round(inputs / seconds), found: found.length, coveredChars };
  if (last.kind === 'invalid') return { ...result, invalid: last.detail };
  if (last.kind === 'done') return result;
  const { reason, detail, kept } = last;
  let input: Buffer | undefined = last.input === undefined ? undefined : Buffer.from(last.input);
  if (input !== undefined && kept === undefined && reason !== 'threw') input = await shorten(input, reason, options);
  const path = kept ?? (input === undefined ? undefined : keep(root, file, name, input));
  return { ...result, finding: { reason, detail, wasKnown: kept !== undefined, ...(path === undefined ? {} : { file: path }) } };
}

/** Writes an input beside its target, named by its hash. Returns its path relative to the root. */
function keep(root: string, file: string, name: string, input: Buffer): string {
  const directory = corpusDirectory(root, file, name);
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${createHash('sha256').update(input).digest('hex').slice(0, 16)}.bin`);
  writeFileSync(path, input);
  return relative(root, path);
}

/** Halves what can be halved of an input that hangs or kills; every try is a thread of its own. */
async function shorten(input: Buffer, reason: FindingReason, options: RunOptions): Promise<Buffer> {
  let best: Buffer = input;
  let size = best.length >> 1;
  for (let tries = 0; tries < HANG_TRIES && size >= 1; tries++) {
    const candidates = [best.subarray(0, best.length - size), best.subarray(size)];
    let isShorter = false;
    for (const candidate of candidates) {
      const { last } = await runThread({ ...options, onProgress: () => undefined }, { phase: 'once', input: candidate });
      isShorter = last.kind === 'finding' && last.reason === reason;
      if (isShorter) best = Buffer.from(candidate);
      if (isShorter) break;
    }
    if (!isShorter) size >>= 1;
    else size = Math.min(size, best.length >> 1);
  }
  return best;
}

async function runThread(options: RunOptions, part: Partial<Job>): Promise<Ended> {
  const { root, file, seed, inputs, seconds, hangMs, onProgress } = options;
  const shared = new SharedArrayBuffer(8 + LARGEST_MAX_BYTES);
  const state = new Int32Array(shared, 0, 2);
  const job: Job = { root, file, seed, inputs, shared, phase: 'fuzz', found: [], input: Buffer.alloc(0), ...(seconds === undefined ? {} : { seconds }), ...part };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: job, resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB } });
  const runningInput = (): Buffer => Buffer.from(Buffer.from(shared, 8, state[1] ?? 0));
  const startedMs = performance.now();
  let name = fileLabel(file);
  let last: Ended['last'] | undefined;
  let isReady = false;
  let seenInputs = -1;
  let seenAtMs = startedMs;

  const { promise: ended, resolve } = Promise.withResolvers<void>();
  worker.on('message', (message: WorkerMessage) => {
    if (message.kind === 'ready') {
      name = message.name;
      isReady = true;
      seenAtMs = performance.now();
    } else last ??= message;
  });
  worker.on('error', (error) => {
    last ??= { kind: 'finding', reason: 'died', detail: error instanceof Error ? (error.stack ?? error.message) : String(error), input: runningInput() };
  });
  worker.on('exit', () => resolve());
  const poll = setInterval(() => {
    const now = performance.now();
    const begun = Atomics.load(state, 0);
    onProgress?.({ name, inputs: begun, inputsPerSecond: Math.round(begun / ((now - startedMs) / 1_000)) });
    if (begun !== seenInputs) {
      seenInputs = begun;
      seenAtMs = now;
    } else if (isReady && last === undefined && now - seenAtMs > hangMs) {
      last = { kind: 'finding', reason: 'hang', detail: `one input ran for more than ${hangMs} ms`, input: runningInput() };
      void worker.terminate();
    }
  }, POLL_MS);
  await ended;
  clearInterval(poll);
  last ??= { kind: 'finding', reason: 'died', detail: 'the thread ended without a word', input: runningInput() };
  return { name, last, inputs: Atomics.load(state, 0) };
}
