// A proxy's end of a drain: the wish in force, kept over restarts, and how far it is, told at every change.
import { type DesiredDrain, type DrainProgress, type DrainState, messageOf, NO_DRAIN } from '@isthmus/model';
import { type Clock, openStateFile, type StateFile, type TimerHandle } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

/** How often the connections that are left are counted while it drains. */
const COUNT_EVERY_MS = 500;
const MAX_FILE_BYTES = 256 * 1_024;

/** What drains in this process. `connections` counts what is left of it; `problem` says what of the wish cannot be. */
export type Drained = { readonly connections: () => number; readonly problem?: () => string | undefined };

export interface DrainFollower {
  /** The wish in force. */
  desired(): DesiredDrain;
  /** Whether this workload is to drain; without a name, the whole process. */
  covers(workload?: string): boolean;
  /** Undefined until `follow` said what drains here: before that nothing is acknowledged. */
  progress(): DrainProgress | undefined;
  /** The control plane's word. In force at once; a wish that cannot be written to disk is in force all the same. */
  take(desired: DesiredDrain): void;
  /** Says what drains here, and begins to count it. */
  follow(drained: Drained): void;
  /** Called when the wish is another; before anything is acknowledged. */
  onDesired(fn: () => void): () => void;
  /** Called when there is progress to tell. */
  onProgress(fn: () => void): () => void;
  close(): Promise<void>;
}

/** Loads the last wish from `stateFile`: a process that drained comes back draining, also while its control plane is away. */
export async function openDrainFollower(options: { readonly stateFile?: string; readonly address?: string | undefined; readonly clock: Clock; readonly log: Log }): Promise<DrainFollower> {
  const file = options.stateFile === undefined ? undefined : openStateFile(options.stateFile, { maxBytes: MAX_FILE_BYTES });
  const desired = (await file?.read().catch((error: unknown) => options.log.warn('what was to drain cannot be read, nothing drains until the control plane says so', { error: messageOf(error) }))) ?? undefined;
  return new Follower({ ...options, file, desired: desired === undefined ? NO_DRAIN : (readDesired(desired) ?? NO_DRAIN) });
}

class Follower implements DrainFollower {
  readonly #options: { readonly file: StateFile | undefined; readonly address?: string | undefined; readonly clock: Clock; readonly log: Log };
  readonly #desiredListeners = new Set<() => void>();
  readonly #progressListeners = new Set<() => void>();
  #desired: DesiredDrain;
  #drained: Drained | undefined;
  #told = '';
  #timer: TimerHandle | undefined;
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: { readonly file: StateFile | undefined; readonly desired: DesiredDrain; readonly address?: string | undefined; readonly clock: Clock; readonly log: Log }) {
    this.#options = options;
    this.#desired = options.desired;
  }

  desired(): DesiredDrain {
    return this.#desired;
  }

  covers(workload?: string): boolean {
    const { draining, workloads } = this.#desired;
    return draining && (workload === undefined || workloads.length === 0 || workloads.includes(workload));
  }

  progress(): DrainProgress | undefined {
    if (this.#drained === undefined) return undefined;
    const connections = this.#desired.draining ? this.#drained.connections() : 0;
    const problem = this.#desired.draining ? this.#drained.problem?.() : undefined;
    const state: DrainState = !this.#desired.draining ? 'serving' : connections > 0 ? 'draining' : 'drained';
    const { address } = this.#options;
    return { revision: this.#desired.revision, state, connections, ...(problem !== undefined && { problem: problem.slice(0, 1_000) }), ...(address !== undefined && { address }) };
  }

  take(desired: DesiredDrain): void {
    if (this.#isClosed || JSON.stringify(desired) === JSON.stringify(this.#desired)) return;
    this.#desired = desired;
    this.#options.log.info(desired.draining ? 'told to drain' : 'told to serve', { revision: desired.revision, workloads: desired.workloads.length });
    const { file, log } = this.#options;
    if (file !== undefined) this.#writing = this.#writing.then(() => file.write(JSON.stringify(desired))).catch((error: unknown) => log.warn('what is to drain could not be written to disk', { error: messageOf(error) }));
    for (const fn of this.#desiredListeners) fn();
    this.#look();
  }

  follow(drained: Drained): void {
    this.#drained = drained;
    this.#look();
  }

  onDesired(fn: () => void): () => void {
    this.#desiredListeners.add(fn);
    return () => this.#desiredListeners.delete(fn);
  }

  onProgress(fn: () => void): () => void {
    this.#progressListeners.add(fn);
    return () => this.#progressListeners.delete(fn);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#writing;
  }

  /** Tells progress where there is some, and looks again for as long as anything drains. */
  #look(): void {
    this.#timer?.cancel();
    const now = JSON.stringify(this.progress());
    if (now !== this.#told) {
      this.#told = now;
      for (const fn of this.#progressListeners) fn();
    }
    if (this.#desired.draining && this.#drained !== undefined && !this.#isClosed) this.#timer = this.#options.clock.setTimer(COUNT_EVERY_MS, () => this.#look());
  }
}

function readDesired(text: string): DesiredDrain | undefined {
  try {
    const { revision, draining, workloads } = JSON.parse(text) as Partial<DesiredDrain>;
    return typeof revision === 'number' && typeof draining === 'boolean' && Array.isArray(workloads) ? { revision, draining, workloads: workloads.map(String) } : undefined;
  } catch {
    return undefined;
  }
}
