// Hand-over: a running process starts its successor, lets go of what only one may hold, and ends once that one serves.
import { type ChildProcess, spawn } from 'node:child_process';
import { isSea } from 'node:sea';
import { systemClock } from './clock.ts';
import { fail } from './errors.ts';

/** Set for a successor; its predecessor listens on the channel that came with it. */
const SUCCESSOR_VARIABLE = 'ISTHMUS_TAKES_OVER';
const LOADED_LIMIT_MS = 30_000;
const READY_LIMIT_MS = 60_000;

type ToSuccessor = 'yours';
type FromSuccessor = 'loaded' | 'ready';

/** The process this one takes over from. */
export interface Predecessor {
  /** Says that this process could be loaded and configured; resolves once the other has let go. Rejects when it is gone. */
  untilLetGo(): Promise<void>;
  /** Says that this process serves now. */
  tellReady(): void;
}

/** A successor that is loaded and waits. */
export interface Successor {
  readonly pid: number;
  /** Tells it to go on. Resolves when it serves; **throws** PROCESS_HAND_OVER_FAILED when it ended instead, or is too late. */
  letGo(): Promise<void>;
  /** Resolves with its exit code or signal when it has ended; keeps nothing alive. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** The process this one was started by to take over from; undefined for a start by anybody else. */
export function findPredecessor(): Predecessor | undefined {
  const isSuccessor = process.env[SUCCESSOR_VARIABLE] !== undefined && process.send !== undefined;
  // Programs that this one starts are no successors of it.
  delete process.env[SUCCESSOR_VARIABLE];
  if (!isSuccessor) return undefined;
  const tell = (what: FromSuccessor): void => {
    if (process.connected) process.send?.(what);
  };
  return {
    untilLetGo: () =>
      new Promise((resolve, reject) => {
        process.once('message', (message: ToSuccessor) => message === 'yours' && resolve());
        process.once('disconnect', () => reject(fail('PROCESS_HAND_OVER_FAILED', 'the process to take over from is gone')));
        tell('loaded');
      }),
    tellReady: () => {
      tell('ready');
      process.removeAllListeners('disconnect');
      // Nothing more is said: the channel must not keep either process alive.
      setImmediate(() => process.connected && process.disconnect?.());
    },
  };
}

/** Starts this program again, as it was started, from the file that is there now. **Throws** PROCESS_HAND_OVER_FAILED; nothing has changed then. */
export async function startSuccessor(): Promise<Successor> {
  const script = isSea() ? [] : process.argv.slice(1, 2);
  const child = spawn(process.execPath, [...process.execArgv, ...script, ...process.argv.slice(2)], {
    argv0: process.argv0,
    env: { ...process.env, [SUCCESSOR_VARIABLE]: '1' },
    stdio: ['ignore', 'inherit', 'inherit', 'ignore', 'ipc'],
  });
  try {
    await untilTold(child, 'loaded', LOADED_LIMIT_MS);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    pid: child.pid ?? 0,
    ended: new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code ?? 0))),
    letGo: async () => {
      const ready = untilTold(child, 'ready', READY_LIMIT_MS);
      child.send?.('yours' satisfies ToSuccessor);
      await ready.catch((error: unknown) => {
        child.kill('SIGKILL');
        throw error;
      });
      child.unref();
    },
  };
}

function untilTold(child: ChildProcess, what: FromSuccessor, limitMs: number): Promise<void> {
  const told = Promise.withResolvers<void>();
  const onMessage = (message: unknown): void => {
    if (message === what) told.resolve();
  };
  const onEnd = (code: number | null, signal: NodeJS.Signals | null): void =>
    told.reject(fail('PROCESS_HAND_OVER_FAILED', `the successor ended before it was ${what} (${signal ?? `exit code ${code}`})`, { hint: 'what it wrote just before says why' }));
  const onError = (cause: Error): void => told.reject(fail('PROCESS_HAND_OVER_FAILED', `the successor could not be started: ${cause.message}`, { cause }));
  const limit = systemClock.setTimer(limitMs, () => told.reject(fail('PROCESS_HAND_OVER_FAILED', `the successor was not ${what} within ${limitMs} ms`)));
  child.on('message', onMessage).once('exit', onEnd).once('error', onError);
  return told.promise.finally(() => {
    limit.cancel();
    child.off('message', onMessage).off('exit', onEnd).off('error', onError);
  });
}
