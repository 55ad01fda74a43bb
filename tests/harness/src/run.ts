// Programs run to their end: the CLI as a person runs it, and real clients no one here wrote.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Finished = { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly stdout: string; readonly stderr: string };

const ISTHMUS = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));

/** Runs a program to its end, killing it after the limit; never rejects for an exit code. */
export function run(command: string, args: readonly string[], options: { readonly limitMs?: number; readonly env?: Readonly<Record<string, string>>; readonly input?: string; readonly cwd?: string } = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...options.env }, ...(options.cwd === undefined ? {} : { cwd: options.cwd }) });
    const limit = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 20_000);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(limit);
      resolve({ code, signal, stdout, stderr });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** Runs `isthmus` with these arguments. */
export function isthmus(args: readonly string[], options: Parameters<typeof run>[2] = {}): Promise<Finished> {
  return run(process.execPath, [ISTHMUS, ...args], options);
}

/** Starts `isthmus` and leaves it running; the caller ends it. */
export function isthmusProcess(args: readonly string[], options: { readonly cwd?: string } = {}): ChildProcess {
  return spawn(process.execPath, [ISTHMUS, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
}

/** The path of a program on PATH, or undefined: then the test that needs it is skipped and says so. */
export function findProgram(name: string): string | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return join(directory, name);
    } catch {
      // Not here.
    }
  }
  return undefined;
}
