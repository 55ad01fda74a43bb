// Processes of a run: started, known to be ready, and certainly ended.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { cpuMsOf, residentBytesOf } from './usage.ts';

/** A process under measurement, or one that makes or takes load. */
export interface Running {
  readonly pid: number;
  readonly port: number;
  /** What the reader should know of how it runs, such as the engine it chose. */
  readonly about?: string;
  /** User and system time so far, in milliseconds, children included. */
  cpuMs(): number;
  residentBytes(): number;
  /** Ends it, and waits for the end. Idempotent. */
  stop(): Promise<void>;
}

/** A module of ours in a process of its own, which answers calls. */
export interface Service extends Running {
  /** Calls one of the module's commands. **Throws** what the command threw, that the process ended, or that it was too late. */
  call<Result>(command: string, args: object): Promise<Result>;
}

export type Answer = { readonly id: number; readonly result?: unknown; readonly error?: string };

const READY_MS = 15_000;
const STOP_MS = 2_000;
/** The longest load, 4 GB through a slow proxy on a busy machine, takes a fraction of it. */
const CALL_MS = 180_000;
const MAX_OUTPUT_CHARS = 4_000;

/** Starts a program and waits until it accepts connections at `port`. **Throws** with its output when it does not. */
export async function startProgram(options: { readonly path: string; readonly args: readonly string[]; readonly cwd: string; readonly port: number }): Promise<Running> {
  const { path, args, cwd, port } = options;
  const child = spawn(path, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const watched = watch(child);
  const deadline = performance.now() + READY_MS;
  while (!(await accepts(port))) {
    if (watched.ended || performance.now() > deadline) {
      await watched.stop();
      throw new Error(`${path} does not accept connections at port ${port}:\n${watched.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return watched.running(port);
}

/** Starts a module of this tool; it says over IPC which port it took. **Throws** with its output when it ends before. */
export async function startService(module: URL, settings: object, flags: readonly string[] = []): Promise<Service> {
  const child = fork(module, { execArgv: [...process.execArgv, ...flags], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const watched = watch(child);
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  child.on('message', (message) => {
    const { id, result, error } = message as Answer;
    const waiter = waiting.get(id);
    if (error === undefined) waiter?.resolve(result);
    else waiter?.reject(new Error(error));
  });
  child.once('exit', () => {
    for (const { reject } of [...waiting.values()]) reject(new Error(`${module.pathname} ended:\n${watched.output()}`));
  });
  const call = <Result>(command: string, args: object): Promise<Result> =>
    new Promise((resolve, reject) => {
      lastId += 1;
      const id = lastId;
      const settle = (then: () => void): void => {
        clearTimeout(limit);
        waiting.delete(id);
        then();
      };
      const limit = setTimeout(() => settle(() => reject(new Error(`${command} was not done within ${CALL_MS} ms`))), CALL_MS);
      waiting.set(id, { resolve: (value) => settle(() => resolve(value as Result)), reject: (error) => settle(() => reject(error)) });
      child.send({ id, command, args }, (error) => error !== null && settle(() => reject(error)));
    });
  try {
    const { port, about } = await call<{ readonly port: number; readonly about?: string }>('start', settings);
    return { ...watched.running(port), call, ...(about !== undefined && { about }) };
  } catch (error) {
    await watched.stop();
    throw error;
  }
}

type Watched = { readonly ended: boolean; output(): string; stop(): Promise<void>; running(port: number): Running };

const alive = new Set<ChildProcess>();
// Whatever ends this process ends the others with it.
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

function watch(child: ChildProcess): Watched {
  let output = '';
  let ended = false;
  const keep = (chunk: Buffer): void => void (output = (output + chunk.toString()).slice(-MAX_OUTPUT_CHARS));
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  alive.add(child);
  const exit = new Promise<void>((resolve) => {
    const onEnd = (error?: unknown): void => {
      if (error instanceof Error) output += error.message;
      ended = true;
      alive.delete(child);
      resolve();
    };
    child.once('error', onEnd);
    child.once('exit', () => onEnd());
  });
  const pid = child.pid ?? 0;
  const stop = async (): Promise<void> => {
    if (ended) return;
    child.kill('SIGTERM');
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exit;
    clearTimeout(limit);
  };
  return {
    get ended() {
      return ended;
    },
    output: () => output,
    stop,
    running: (port) => ({ pid, port, cpuMs: () => cpuMsOf(pid), residentBytes: () => residentBytesOf(pid), stop }),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
