// One process of the demo: started in its own group, its output kept in a file, ready when it says so, ended for certain.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { isSea } from 'node:sea';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { systemClock } from '@isthmus/runtime';
import { fail } from '../errors.ts';

export type ProcessSpec = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The name the program is called by, where that is not the command's. */
  readonly argv0?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** True for the line of output that says the process serves. */
  readonly isReady: (line: string) => boolean;
  readonly readyLimitMs: number;
};

export interface ManagedProcess {
  readonly name: string;
  readonly pid: number;
  /** How long it took from spawn to ready. */
  readonly readyAfterMs: number;
  /** Settles when the process is gone, with its exit code or the signal that ended it. */
  readonly exited: Promise<ExitFacts>;
  isRunning(): boolean;
  /** SIGTERM, then SIGKILL to the whole group after the limit; resolves when the process is gone. */
  stop(limitMs?: number): Promise<ExitFacts>;
  /** SIGKILL at once, to the whole group. */
  kill(): Promise<ExitFacts>;
  signal(signal: NodeJS.Signals): void;
}

export type ExitFacts = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

const STOP_LIMIT_MS = 5_000;
/** What a process leaves behind may hold on to its output. */
const LOGGED_LIMIT_MS = 1_000;

/** How a program is started. */
export type ProgramStart = Pick<ProcessSpec, 'command' | 'args' | 'argv0' | 'env'>;

/** A program as a process: a module of this repository or part of the executable this runs in, which end with the demo; or an executable elsewhere. */
export function nodeProgram(program: string, args: readonly string[], nodeFlags: readonly string[] = []): ProgramStart {
  if (/\.(?:ts|mjs)$/.test(program)) {
    const endWithParent = pathToFileURL(moduleOf('apps/cli/src/demo/end-with-parent.ts')).href;
    return { command: process.execPath, args: ['--disable-warning=ExperimentalWarning', ...nodeFlags, '--import', endWithParent, program, ...args] };
  }
  return isAbsolute(program) ? { command: program, args } : { command: process.execPath, argv0: program, args, env: { ISTHMUS_ENDS_WITH_PARENT: '1' } };
}

/**
 * The same program, killed by the kernel in the moment its parent dies, also while nothing in it has its turn. By `setpriv`
 * of util-linux, where `path` has it; without it, and where the program is chosen by the name it is called by, it ends by
 * the pipe alone. The kernel means the thread that started it: here the main one, which lives as long as the process.
 * **Source** prctl(2), PR_SET_PDEATHSIG.
 */
export function killedWithParent(start: ProgramStart, path: string = process.env['PATH'] ?? ''): ProgramStart {
  const setpriv = process.platform === 'linux' && start.argv0 === undefined ? executableOn(path, 'setpriv') : undefined;
  return setpriv === undefined ? start : { ...start, command: setpriv, args: ['--pdeathsig', 'KILL', '--', start.command, ...start.args] };
}

/** The first executable of this name in the directories of a `PATH`. */
export function executableOn(path: string, name: string): string | undefined {
  return path.split(delimiter).map((directory) => join(directory, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false; // Not here: the next directory.
    }
  });
}

/** The application of the demo: a source, or what the executable is when it is called by this name. */
export function sampleWorkload(): string {
  return isSea() ? 'isthmus-sample-workload' : moduleOf('apps/cli/src/demo/sample-workload.ts');
}

/** The main program of one of the apps: its module, its name in the executable this runs in, or the executable in the directory that `ISTHMUS_PROGRAMS` names. */
export function appMain(app: 'trust-root' | 'control-plane' | 'gateway' | 'agent' | 'admin-api'): string {
  const directory = process.env['ISTHMUS_PROGRAMS'];
  if (directory !== undefined) return resolve(directory, `isthmus-${app}`);
  if (isSea()) return `isthmus-${app}`;
  return moduleOf(`apps/${app}/src/main.ts`);
}

/** The file to run for a source of this repository: its bundle where there are bundles (`ISTHMUS_BUNDLES`, decision 0030), else the source itself. */
export function moduleOf(source: string): string {
  const bundles = process.env['ISTHMUS_BUNDLES'];
  const bundle = bundles === undefined ? undefined : join(bundles, source.replace(/\.ts$/, '.mjs'));
  return bundle !== undefined && existsSync(bundle) ? bundle : join(REPOSITORY, source);
}

/** True for the log line `ready` of an app, in either log format. */
export function isReadyLine(line: string): boolean {
  return /"(?:msg|message)":"ready"/.test(line);
}

/**
 * Starts a process and resolves once it is ready. Throws CLI_PROCESS_FAILED with the end of its log if it ends or is not
 * ready in time; then it has been ended.
 */
export async function startProcess(spec: ProcessSpec, onSpawn: (child: ManagedProcess) => void): Promise<ManagedProcess> {
  const startedMonotonicMs = systemClock.monotonicMs();
  const { child, logged } = spawnLogged(spec);
  const ready = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', (line) => spec.isReady(line) && ready.resolve());
  }
  const exited = new Promise<ExitFacts>((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const handle = makeHandle(spec.name, child, exited, () => readyAfterMs);
  let readyAfterMs = 0;
  onSpawn(handle);
  const limit = systemClock.setTimer(spec.readyLimitMs, () => ready.reject(notReady(spec, `was not ready within ${spec.readyLimitMs} ms`)));
  void exited.then(async ({ code, signal }) => {
    await within(logged, LOGGED_LIMIT_MS); // its last words come after its exit
    ready.reject(notReady(spec, `ended before it was ready (${signal ?? `exit code ${code}`})`));
  });
  try {
    await ready.promise;
    readyAfterMs = systemClock.monotonicMs() - startedMonotonicMs;
    return handle;
  } catch (error) {
    await handle.kill();
    throw error;
  } finally {
    limit.cancel();
  }
}

const REPOSITORY = fileURLToPath(new URL('../../../..', import.meta.url));

/** Where types stripped and code compiled is kept for all processes: a third of their memory and half of their start. */
export const COMPILE_CACHE_DIR = join(REPOSITORY, 'node_modules/.cache/isthmus');

/** `logged` settles when all its output is in its file. */
function spawnLogged(spec: ProcessSpec): { readonly child: ChildProcess; readonly logged: Promise<void> } {
  mkdirSync(dirname(spec.logFile), { recursive: true });
  const log = createWriteStream(spec.logFile, { flags: 'a' });
  const child = spawn(spec.command, spec.args, {
    detached: true,
    ...(spec.argv0 === undefined ? {} : { argv0: spec.argv0 }),
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...(isSea() ? {} : { NODE_COMPILE_CACHE: COMPILE_CACHE_DIR }), ...process.env, ...spec.env },
  });
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  child.once('close', () => log.end());
  child.once('error', (error) => log.end(`${error.message}\n`));
  return { child, logged: new Promise((resolve) => log.once('close', resolve)) };
}

/** Until that is so, or for so long. */
function within(done: Promise<void>, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const limit = systemClock.setTimer(limitMs, resolve);
    void done.then(() => {
      limit.cancel();
      resolve();
    });
  });
}

function makeHandle(name: string, child: ChildProcess, exited: Promise<ExitFacts>, readyAfterMs: () => number): ManagedProcess {
  let running = child.pid !== undefined;
  void exited.then(() => {
    running = false;
  });
  const toGroup = (signal: NodeJS.Signals): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // ESRCH: the group is gone already.
    }
  };
  return {
    name,
    pid: child.pid ?? 0,
    get readyAfterMs() {
      return readyAfterMs();
    },
    exited,
    isRunning: () => running,
    signal: (signal) => void (running && child.kill(signal)),
    kill: async () => {
      toGroup('SIGKILL');
      return exited;
    },
    stop: async (limitMs = STOP_LIMIT_MS) => {
      if (!running) {
        // A successor it handed over to, where there is one.
        toGroup('SIGKILL');
        return exited;
      }
      child.kill('SIGTERM');
      const limit = systemClock.setTimer(limitMs, () => toGroup('SIGKILL'));
      try {
        return await exited;
      } finally {
        limit.cancel();
        toGroup('SIGKILL');
      }
    },
  };
}

function notReady(spec: ProcessSpec, what: string): Error {
  const end = lastLines(spec.logFile, 5);
  return fail('CLI_PROCESS_FAILED', `${spec.name} ${what}${end === '' ? '' : `; its log ends:\n${end}`}`, {
    hint: `its whole log: ${spec.logFile}`,
    facts: { name: spec.name },
  });
}

/** The last lines of a log file, or an empty string where there is none. */
export function lastLines(file: string, count: number): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch {
    return '';
  }
}
