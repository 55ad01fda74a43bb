// The life of a process: parts start in order, signals stop them in reverse, and it never goes without a reason.
import { constants } from 'node:os';
import { ERROR_CLASSES, IsthmusError, messageOf } from '@isthmus/model';
import type { Log } from '@isthmus/telemetry';
import { systemClock } from './clock.ts';
import { fail } from './errors.ts';

/** A part with a life. `stop` keeps data and is called once, in reverse order of starting. */
export interface Stoppable {
  readonly name: string;
  stop(): Promise<void>;
}

const STOP_LIMIT_MS = 10_000;

/**
 * Runs a program: `start` makes its parts and hands each over with `own` as soon as it runs; then the process lives until
 * SIGTERM or SIGINT and stops the parts in reverse, each within 10 s. A second signal ends it at once. A failure to start
 * stops what had started and exits with the code of its class; an uncaught error is logged and exits with 70.
 */
export async function runProcess(options: {
  readonly program: string;
  readonly log: Log & { close?: () => Promise<void> };
  readonly start: (own: (part: Stoppable) => void, signal: AbortSignal) => Promise<void>;
}): Promise<void> {
  const { log } = options;
  const parts: Stoppable[] = [];
  const starting = new AbortController();
  let exitCode = 0;
  let stopping: Promise<void> | undefined;

  const end = (code: number): void => {
    exitCode = Math.max(exitCode, code);
    starting.abort(new Error('the process is stopping'));
    stopping ??= stopAll(parts, log).then(async () => {
      await log.close?.();
      process.exit(exitCode);
    });
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping !== undefined) process.exit(128 + (constants.signals[signal] ?? 0));
    log.info('stopping', { signal });
    end(0);
  };
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
    if (stopping !== undefined) void stopOne(part, log);
    else parts.push(part);
  };
  try {
    await options.start(own, starting.signal);
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

async function stopAll(parts: readonly Stoppable[], log: Log): Promise<void> {
  for (const part of parts.toReversed()) await stopOne(part, log);
}

/** Stops a part, or goes on without it once its time is up. Never throws. */
async function stopOne(part: Stoppable, log: Log): Promise<void> {
  const late = Promise.withResolvers<void>();
  const limit = systemClock.setTimer(STOP_LIMIT_MS, () => {
    log.warn('part did not stop in time', { part: part.name });
    late.resolve();
  });
  const stopped = Promise.try(() => part.stop()).catch((error: unknown) => log.warn('part failed to stop', { part: part.name, error: messageOf(error) }));
  await Promise.race([stopped, late.promise]);
  limit.cancel();
}

/** A listening error made clear: PORT_BUSY for EADDRINUSE, PORT_DENIED for EACCES, both naming host and port, anything else as it is. */
export function portBusy(error: Error, host: string, port: number): Error {
  if (!('code' in error) || (error.code !== 'EADDRINUSE' && error.code !== 'EACCES')) return error;
  if (error.code === 'EACCES') return fail('PORT_DENIED', `port ${port} on ${host} needs more rights than this program has`, { hint: 'choose a port above 1023, or give it CAP_NET_BIND_SERVICE', facts: { host, port }, cause: error });
  return fail('PORT_BUSY', `port ${port} on ${host} is taken by another program`, { hint: 'choose another port, or stop that program', facts: { host, port }, cause: error });
}
