// The Linux relay engine, seen from the main thread: starts the workers, feeds them snapshots, sums up what they count.
import { type ErrorClass, type ErrorFacts, IsthmusError, messageOf } from '@isthmus/model';
import { retryForever } from '@isthmus/runtime';
import type { LogLevel } from '@isthmus/telemetry';
import { startThread, type Thread } from '../../worker/thread.ts';
import { fail } from '../../errors.ts';
import { threadRestarts } from '../../metrics.ts';
import type { Relay, RelayLimits, RelayOptions, StartRelay } from '../engine.ts';
import { LedgerReport } from '../ledger-report.ts';
import type { FromRelayWorker, ToRelayWorker } from './messages.ts';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];
/** After the connections were cut, for the last counts. */
const STOP_LIMIT_MS = 2_000;

/** Between the death of a thread and its replacement; one that lasted longer than the longest wait is replaced at once. */
const REPLACE_BACKOFF = { baseMs: 50, maxMs: 10_000 };

/** A worker's place. At most one thread is in it. */
type Seat = {
  readonly index: number;
  thread: Thread<ToRelayWorker> | undefined;
  connections: number;
  /** What the last thread in it died of. */
  why: Error | undefined;
  listening: PromiseWithResolvers<{ readonly host: string; readonly port: number }>;
  drained: PromiseWithResolvers<void>;
};

class LinuxRelay implements Relay {
  readonly engine = 'linux';
  readonly #options: RelayOptions;
  readonly #report: LedgerReport;
  readonly #seats: readonly Seat[];
  readonly #restarts;
  readonly #unsubscribe: () => void;
  readonly #stopping = new AbortController();
  readonly #kept: Promise<void>[] = [];
  #bound = { host: '', port: 0 };
  #closing: Promise<void> | undefined;

  constructor(options: RelayOptions) {
    const { settings, snapshots, metrics } = options;
    this.#options = options;
    this.#report = new LedgerReport(metrics, Object.keys(settings.reserved));
    this.#restarts = threadRestarts(metrics);
    this.#seats = Array.from({ length: Math.max(1, settings.workers) }, (_, index) => ({ index, thread: undefined, connections: 0, why: undefined, listening: Promise.withResolvers(), drained: Promise.withResolvers() }));
    this.#unsubscribe = snapshots.onChange((snapshot, changed) => {
      const upserts = changed.flatMap((key) => {
        const resource = snapshot.resources.get(key);
        return resource === undefined ? [] : [[key, resource] as const];
      });
      const removals = changed.filter((key) => !snapshot.resources.has(key));
      for (const { thread } of this.#seats) thread?.post({ kind: 'snapshot', version: snapshot.version, upserts, removals });
      this.#report.sweep(snapshot);
    });
  }

  get host(): string {
    return this.#bound.host;
  }
  get port(): number {
    return this.#bound.port;
  }
  get connections(): number {
    let sum = 0;
    for (const seat of this.#seats) sum += seat.connections;
    return sum;
  }
  get serviceConnections(): number {
    return this.#report.serviceConnections;
  }

  /** The first worker takes the port, the others share it. **Throws** DATAPLANE_LISTEN_FAILED, DATAPLANE_ENGINE_UNAVAILABLE. */
  async listen(): Promise<void> {
    try {
      let { port } = this.#options.settings.listen;
      for (const seat of this.#seats) {
        await this.#fill(seat, port, seat.index === 0 ? (this.#options.settings.listen.sharesPort ?? 'first') : 'joins');
        this.#bound = await seat.listening.promise;
        port = this.#bound.port;
      }
    } catch (error) {
      await this.close();
      throw error;
    }
    for (const seat of this.#seats) this.#kept.push(this.#keep(seat));
  }

  async #fill(seat: Seat, port: number, sharesPort: 'first' | 'joins'): Promise<Thread<ToRelayWorker>> {
    const { settings, snapshots, log, clock } = this.#options;
    const share = { ...settings, limits: shareOf(settings.limits, this.#seats.length) };
    const logLevel = LEVELS.find((level) => log.isEnabled(level)) ?? 'error';
    seat.listening = Promise.withResolvers();
    seat.listening.promise.catch(() => undefined);
    seat.drained = Promise.withResolvers();
    const thread = await startThread<ToRelayWorker, FromRelayWorker>({
      script: new URL('./relay-worker.ts', import.meta.url),
      data: { settings: share, logLevel },
      clock,
      onMessage: (message) => this.#onMessage(seat, message),
      onExit: (error) => this.#onExit(seat, error),
    });
    seat.thread = thread;
    const snapshot = snapshots.current();
    thread.post({ kind: 'snapshot', version: snapshot.version, upserts: [...snapshot.resources], removals: [] });
    thread.post({ kind: 'listen', port, sharesPort });
    return thread;
  }

  #onMessage(seat: Seat, message: FromRelayWorker): void {
    switch (message.kind) {
      case 'listening':
        return seat.listening.resolve(message);
      case 'failed': {
        const { code, class: errorClass, message: text, hint, facts } = message.error;
        return seat.listening.reject(new IsthmusError(code, errorClass as ErrorClass, text, { ...(hint !== undefined && { hint }), facts: facts as ErrorFacts }));
      }
      case 'counts':
        seat.connections = message.connections;
        if (message.delta !== undefined) this.#report.add(seat.index, message.delta);
        this.#report.setOpen(this.connections);
        return this.#report.sweep(this.#options.snapshots.current());
      case 'drained':
        return seat.drained.resolve();
      case 'log':
        return this.#options.log[message.level](message.message, message.fields);
      case 'ready':
        return;
    }
  }

  /** A worker that died takes its own connections with it and no others. */
  #onExit(seat: Seat, error: Error | undefined): void {
    seat.thread = undefined;
    seat.connections = 0;
    seat.why = error;
    seat.drained.resolve();
    seat.listening.reject(fail('DATAPLANE_ENGINE_UNAVAILABLE', `a gateway thread ended${error === undefined ? '' : `: ${messageOf(error)}`}`));
    this.#report.threadEnded(seat.index);
    this.#report.setOpen(this.connections);
  }

  /** Puts another thread in the place of each that died, ever more slowly when they die young. */
  #keep(seat: Seat): Promise<void> {
    const { log, clock, random } = this.#options;
    const { signal } = this.#stopping;
    return retryForever({
      clock,
      signal,
      backoff: { ...REPLACE_BACKOFF, random },
      attempt: async () => {
        if (seat.thread === undefined) await this.#replace(seat);
        await seat.thread?.ended;
        throw seat.why ?? new Error('no reason given');
      },
      onError: (error, waitMs) =>
        log.error('a gateway thread died and is replaced', { code: 'DATAPLANE_THREAD_DIED', worker: seat.index, detail: messageOf(error), waitMs: Math.round(waitMs) }),
    });
  }

  async #replace(seat: Seat): Promise<void> {
    this.#restarts.inc();
    const thread = await this.#fill(seat, this.#bound.port, 'joins');
    try {
      // Closed while it started: nobody else knows of this thread.
      if (this.#stopping.signal.aborted) thread.post({ kind: 'stop' });
      else await seat.listening.promise;
    } catch (error) {
      thread.kill();
      await thread.ended;
      throw error;
    }
  }

  close({ drainMs = 0 }: { readonly drainMs?: number } = {}): Promise<void> {
    return (this.#closing ??= this.#close(drainMs));
  }

  async #close(drainMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#stopping.abort();
    this.#unsubscribe();
    const threads = this.#seats.flatMap(({ thread, drained }) => (thread === undefined ? [] : [{ thread, drained }]));
    for (const { thread } of threads) thread.post({ kind: 'drain' });
    const late = new AbortController();
    await Promise.race([Promise.all(threads.map(({ drained }) => drained.promise)), clock.sleep(drainMs, late.signal).catch(() => undefined)]);
    late.abort();
    const timer = clock.setTimer(STOP_LIMIT_MS, () => {
      for (const { thread } of this.#seats) thread?.kill();
    });
    for (const { thread } of threads) thread.post({ kind: 'stop' });
    await Promise.all([...threads.map(({ thread }) => thread.ended), ...this.#kept]);
    timer.cancel();
  }
}

/** A worker's part of limits that are meant for all together. */
function shareOf(limits: RelayLimits, workers: number): RelayLimits {
  const part = (all: number): number => Math.ceil(all / workers);
  return { ...limits, connections: part(limits.connections), endpointConnections: part(limits.endpointConnections), hellos: part(limits.hellos) };
}

/** Starts the workers. **Throws** DATAPLANE_LISTEN_FAILED, DATAPLANE_ENGINE_UNAVAILABLE. */
export const startLinuxRelay: StartRelay = async (options) => {
  if (process.platform !== 'linux') throw fail('DATAPLANE_ENGINE_UNAVAILABLE', `the linux engine does not run on ${process.platform}`);
  const relay = new LinuxRelay(options);
  await relay.listen();
  return relay;
};
