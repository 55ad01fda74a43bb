// All processes of one demo: started and restarted by name, and all of them ended however the demo ends.
import { systemClock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { type ManagedProcess, type ProcessSpec, startProcess } from './process.ts';

export interface Supervisor {
  /** Starts a process; its spec is kept, so that it can be started again by name. */
  start(spec: ProcessSpec): Promise<ManagedProcess>;
  /** Starts a known process again after it ended or was stopped. Throws CLI_NOT_FOUND. */
  restart(name: string): Promise<ManagedProcess>;
  get(name: string): ManagedProcess;
  names(): readonly string[];
  list(): readonly { readonly name: string; readonly pid: number; readonly isRunning: boolean; readonly readyAfterMs: number }[];
  /** Told of a process that ended without being asked to. */
  onUnexpectedExit(fn: (name: string, how: string) => void): void;
  /** Marks that a process is about to end on purpose, then ends it. */
  stop(name: string): Promise<void>;
  kill(name: string): Promise<void>;
  /** Ends every process, last started first where it matters not at all: all at once, SIGTERM then SIGKILL. */
  close(): Promise<void>;
}

/** Opens an empty supervisor; if this process dies with children alive, they are killed on the way out. */
export function openSupervisor(): Supervisor {
  const specs = new Map<string, ProcessSpec>();
  const running = new Map<string, ManagedProcess>();
  const expected = new Set<ManagedProcess>();
  const listeners = new Set<(name: string, how: string) => void>();
  let closing = false;

  const killAll = (): void => {
    for (const child of running.values()) if (child.isRunning()) void child.kill();
  };
  process.once('exit', killAll);

  const start = async (spec: ProcessSpec): Promise<ManagedProcess> => {
    if (closing) throw fail('CLI_PROCESS_FAILED', `${spec.name} was not started: the demo is ending`);
    specs.set(spec.name, spec);
    let spawned: ManagedProcess | undefined;
    const child = await startProcess(spec, (handle) => {
      spawned = handle;
      running.set(spec.name, handle);
      // A start that fails is reported by its own error.
      expected.add(handle);
    });
    if (spawned !== undefined) expected.delete(spawned);
    void child.exited.then(({ code, signal }) => {
      if (closing || expected.has(child)) return;
      for (const listener of listeners) listener(spec.name, signal ?? `exit code ${code}`);
    });
    return child;
  };
  const get = (name: string): ManagedProcess => {
    const child = running.get(name);
    if (child === undefined) throw fail('CLI_NOT_FOUND', `the demo has no process ${JSON.stringify(name)}`, { hint: [...running.keys()].join(', ') });
    return child;
  };

  return {
    start,
    restart: async (name) => {
      const child = get(name);
      if (child.isRunning()) return child;
      return start(specs.get(name) as ProcessSpec);
    },
    get,
    names: () => [...running.keys()],
    list: () => [...running.values()].map((child) => ({ name: child.name, pid: child.pid, isRunning: child.isRunning(), readyAfterMs: Math.round(child.readyAfterMs) })),
    onUnexpectedExit: (fn) => void listeners.add(fn),
    stop: async (name) => {
      const child = get(name);
      expected.add(child);
      await child.stop();
    },
    kill: async (name) => {
      const child = get(name);
      expected.add(child);
      await child.kill();
    },
    close: async () => {
      closing = true;
      await Promise.all([...running.values()].map((child) => child.stop()));
      process.removeListener('exit', killAll);
    },
  };
}

/** Asks again and again until the answer is not undefined; throws CLI_TIMEOUT naming what was waited for. */
export async function waitFor<T>(what: string, limitMs: number, ask: () => Promise<T | undefined> | T | undefined, everyMs = 25): Promise<T> {
  const untilMonotonicMs = systemClock.monotonicMs() + limitMs;
  let lastError: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      lastError = error;
    }
    if (systemClock.monotonicMs() >= untilMonotonicMs) {
      const because = lastError instanceof Error ? ` (last: ${lastError.message})` : '';
      throw fail('CLI_TIMEOUT', `waited ${limitMs} ms for ${what}${because}`, lastError === undefined ? {} : { cause: lastError });
    }
    await systemClock.sleep(everyMs);
  }
}
