// One test file in one process: its results, its output, and a certain end.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Ended } from './reporter.ts';

export type FileResult = {
  readonly file: string;
  readonly durationMs: number;
  readonly ended: readonly Ended[];
  /** The last of what the file wrote, shown when something failed. */
  readonly output: string;
};

const REPORTER = fileURLToPath(new URL('./reporter.ts', import.meta.url));
const MAX_OUTPUT_CHARS = 32_768;

/**
 * Runs a test file. A file that crashes, holds no test, or does not end within the limit counts as one failed test of
 * its own. Processes it leaves behind end with it: it leads a process group. An abort ends it at once.
 */
export async function runFile(options: { readonly root: string; readonly file: string; readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<FileResult> {
  const { root, file, timeoutMs, signal } = options;
  const scratch = mkdtempSync(join(tmpdir(), 'isthmus-test-'));
  const report = join(scratch, 'report.jsonl');
  const startedMs = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', `--test-reporter=${REPORTER}`, `--test-reporter-destination=${report}`, file], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, FORCE_COLOR: '0', NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/compile') },
  });
  let output = '';
  const keep = (chunk: Buffer): void => void (output = (output + chunk.toString()).slice(-MAX_OUTPUT_CHARS));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);

  let isLate = false;
  const limit = setTimeout(() => {
    isLate = true;
    killGroup(child);
  }, timeoutMs);
  const onAbort = (): void => killGroup(child);
  signal.addEventListener('abort', onAbort, { once: true });
  const { code, signal: killedBy } = await new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('error', () => resolve({ code: 1, signal: null }));
    child.once('exit', (exitCode, exitSignal) => resolve({ code: exitCode, signal: exitSignal }));
  });
  clearTimeout(limit);
  signal.removeEventListener('abort', onAbort);
  killGroup(child);
  await closed(child);

  const durationMs = performance.now() - startedMs;
  const ended = readReport(report);
  rmSync(scratch, { recursive: true, force: true });
  const fault = isLate
    ? `did not end within ${timeoutMs / 1_000} s; is a socket, timer or process left open?`
    : faultOf(ended, code, killedBy);
  return { file, durationMs, output, ended: fault === undefined ? ended : [...ended, { outcome: 'failed', name: '(the file itself)', durationMs, reason: fault }] };
}

/** What is wrong with a file beyond its tests, or undefined. */
export function faultOf(ended: readonly Ended[], code: number | null, killedBy: string | null): string | undefined {
  if (killedBy !== null) return `was ended by ${killedBy}`;
  const hasFailed = ended.some((e) => e.outcome === 'failed');
  if (code !== 0 && !hasFailed) return `ended with exit code ${code} although no test failed`;
  if (ended.length === 0) return 'holds no test';
  return code === 0 && hasFailed ? 'ended with exit code 0 although a test failed' : undefined;
}

function readReport(path: string): readonly Ended[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  // A line cut short by a kill is dropped; the kill itself is reported.
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Ended);
}

/** Waits for the rest of the output; not for a process that left the group and keeps the pipe open. */
async function closed(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const limit = setTimeout(resolve, 1_000);
  child.once('close', resolve);
  if (child.stdout?.closed === true && child.stderr?.closed === true) resolve();
  await promise;
  clearTimeout(limit);
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Everything in the group has ended.
  }
}
