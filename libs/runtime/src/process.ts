// The life of a process: parts start in order, signals stop them in reverse, and it never goes without a reason.
import { rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { ERROR_CLASSES, IsthmusError, messageOf } from '@isthmus/model';
import type { Log } from '@isthmus/telemetry';
import { systemClock } from './clock.ts';
import { fail } from './errors.ts';
import { findPredecessor, startSuccessor } from './hand-over.ts';
import { tellSystemd } from './systemd.ts';

/** Why a part is stopped: the process ends, or its successor serves already and connections may take their time. */
export type StopReason = 'ending' | 'handed-over';

/** A part with a life. `stop` keeps data and is called once, in reverse order of starting. */
export interface Stoppable {
  readonly name: string;
  /** On a hand-over it goes on until the successor serves. */
  readonly carriesTraffic?: boolean;
  /** How long connections are let end: that much more than 10 s may `stop` take. */
  drainMs?(why: StopReason): number;
  stop(why: StopReason): Promise<void>;
}

/** How a program that may be replaced while it serves goes about it. */
export type HandOver = {
  /** File with the id of the process that serves, as systemd's `PIDFile=` wants it. */
  readonly pidFile?: string | undefined;
  /** Why this process cannot hand over, such as sockets that cannot be shared; undefined where it can. */
  readonly whyNot?: () => string | undefined;
};

/** What `start` is told of its beginning. `joins`: another process of this program serves on the same ports. */
export type StartRole = { readonly sharesPort: 'first' | 'joins' };

const STOP_LIMIT_MS = 10_000;
/** Both listen for so long, so that nobody meets a port that nobody has. */
const OVERLAP_MS = 1_000;

/**
 * Runs a program: `start` makes its parts and hands each over with `own` as soon as it runs; then the process lives until
 * SIGTERM or SIGINT and stops the parts in reverse, each within 10 s and its drain. A second signal ends it at once. A
 * failure to start stops what had started and exits with the code of its class; an uncaught error is logged and exits
 * with 70. With `handOver`, SIGUSR2 starts the program again from the file that is there now: what only one may hold
 * is let go, the successor listens beside this process, which then takes no more connections and ends with its last.
 * systemd is told who serves, where it wants to know.
 */
export async function runProcess(options: {
  readonly program: string;
  readonly log: Log & { close?: () => Promise<void> };
  readonly handOver?: HandOver;
  readonly start: (own: (part: Stoppable) => void, signal: AbortSignal, role: StartRole) => Promise<void>;
}): Promise<void> {
  const { log } = options;
  let parts: Stoppable[] = [];
  const starting = new AbortController();
  let exitCode = 0;
  let stopping: Promise<void> | undefined;
  let successorServes = false;

  const end = (code: number): void => {
    exitCode = Math.max(exitCode, code);
    starting.abort(new Error('the process is stopping'));
    stopping ??= stopAll(parts, log, 'ending').then(async () => {
      if (!successorServes && options.handOver?.pidFile !== undefined) await rm(options.handOver.pidFile, { force: true }).catch(() => undefined);
      await log.close?.();
      process.exit(exitCode);
    });
  };
  const tell = async (state: Parameters<typeof tellSystemd>[0]): Promise<void> => {
    const problem = await tellSystemd(state);
    if (problem !== undefined) log.warn('systemd could not be told', { error: problem });
  };
  const handOver = async (): Promise<void> => {
    const why = options.handOver?.whyNot?.();
    if (why !== undefined) {
      log.warn('no hand-over, restart instead', { why });
      return end(ERROR_CLASSES.unavailable.exit);
    }
    const successor = await startSuccessor();
    // Not told to stop meanwhile; from here on there is no way back.
    if (stopping !== undefined) return;
    log.info('handing over', { successor: successor.pid });
    const held = parts.filter((part) => part.carriesTraffic !== true);
    parts = parts.filter((part) => part.carriesTraffic === true);
    await stopAll(held, log, 'handed-over');
    try {
      await successor.letGo();
    } catch (error) {
      log.error('the successor did not come up', { error: messageOf(error) });
      return end(ERROR_CLASSES.unavailable.exit);
    }
    successorServes = true;
    // Nobody else notices: to a supervisor that one is a child of this process.
    void successor.ended.then((how) => {
      // With 0 it was stopped, or has handed over itself.
      if (stopping !== undefined || how === 0) return;
      log.error('the successor ended', { how });
      end(ERROR_CLASSES.unavailable.exit);
    });
    await systemClock.sleep(OVERLAP_MS);
    if (stopping !== undefined) return;
    const rest = parts;
    parts = [];
    log.info('the successor serves; open connections are let end', { successor: successor.pid });
    await stopAll(rest, log, 'handed-over');
    end(0);
  };
  // Not before this process serves: what has only begun to start hands nothing over.
  let handingOver = true;
  const onHandOver = (): void => {
    if (stopping !== undefined || handingOver) return;
    handingOver = true;
    void handOver().catch((error: unknown) => {
      handingOver = false;
      log.error('no hand-over, this process goes on', { error: messageOf(error) });
      void tell({ READY: '1', STATUS: `no hand-over, this process goes on: ${messageOf(error)}` });
    });
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping !== undefined) process.exit(128 + (constants.signals[signal] ?? 0));
    log.info('stopping', { signal });
    end(0);
  };
  if (options.handOver !== undefined) process.on('SIGUSR2', onHandOver);
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  const onCrash = (error: unknown): void => {
    log.error('uncaught error', { error: messageOf(error), ...(error instanceof Error && error.stack !== undefined && { stack: error.stack }) });
    end(ERROR_CLASSES.internal.exit);
  };
  process.on('uncaughtException', onCrash);
  process.on('unhandledRejection', onCrash);

  const own = (part: Stoppable): void => {
    // A part that came to life while the process was stopping already: nobody else would stop it.
    if (stopping !== undefined) void stopOne(part, log, 'ending');
    else parts.push(part);
  };
  try {
    const predecessor = options.handOver === undefined ? undefined : findPredecessor();
    await predecessor?.untilLetGo();
    await options.start(own, starting.signal, { sharesPort: predecessor === undefined ? 'first' : 'joins' });
    // Before its predecessor ends: there is always one that systemd knows to serve.
    await tell({ READY: '1', MAINPID: String(process.pid), STATUS: 'serves' });
    if (options.handOver === undefined) return;
    handingOver = false;
    if (options.handOver.pidFile !== undefined) await writeFile(options.handOver.pidFile, `${process.pid}\n`);
    predecessor?.tellReady();
  } catch (error) {
    if (stopping !== undefined) return;
    reportFailure(log, options.program, error);
    end(error instanceof IsthmusError ? ERROR_CLASSES[error.class].exit : ERROR_CLASSES.internal.exit);
  }
}

function reportFailure(log: Log, program: string, error: unknown): void {
  const known = error instanceof IsthmusError;
  log.error('could not start', {
    error: messageOf(error),
    ...(known && { code: error.code, hint: error.hint }),
    ...(!known && error instanceof Error && { stack: error.stack }),
  });
  process.stderr.write(`${program}: ${messageOf(error)}\n${known && error.hint !== undefined ? `  hint: ${error.hint}\n` : ''}`);
}

async function stopAll(parts: readonly Stoppable[], log: Log, why: StopReason): Promise<void> {
  for (const part of parts.toReversed()) await stopOne(part, log, why);
}

/** Stops a part, or goes on without it once its time is up. Never throws. */
async function stopOne(part: Stoppable, log: Log, why: StopReason): Promise<void> {
  const late = Promise.withResolvers<void>();
  const limit = systemClock.setTimer(STOP_LIMIT_MS + (part.drainMs?.(why) ?? 0), () => {
    log.warn('part did not stop in time', { part: part.name });
    late.resolve();
  });
  const stopped = Promise.try(() => part.stop(why)).catch((error: unknown) => log.warn('part failed to stop', { part: part.name, error: messageOf(error) }));
  await Promise.race([stopped, late.promise]);
  limit.cancel();
}

/** A listening error made clear: PORT_BUSY for EADDRINUSE, PORT_DENIED for EACCES, both naming host and port, anything else as it is. */
export function portBusy(error: Error, host: string, port: number): Error {
  if (!('code' in error) || (error.code !== 'EADDRINUSE' && error.code !== 'EACCES')) return error;
  if (error.code === 'EACCES') return fail('PORT_DENIED', `port ${port} on ${host} needs more rights than this program has`, { hint: 'choose a port above 1023, or give it CAP_NET_BIND_SERVICE', facts: { host, port }, cause: error });
  return fail('PORT_BUSY', `port ${port} on ${host} is taken by another program`, { hint: 'choose another port, or stop that program', facts: { host, port }, cause: error });
}
