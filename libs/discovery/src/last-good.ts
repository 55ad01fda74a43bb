// The last good snapshot on disk: what a proxy starts with while no control plane answers.
import { messageOf, type Snapshot, snapshotProblems, type SnapshotResource, resourceName } from '@isthmus/model';
import { type Clock, openStateFile } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { readJson } from './accept-update.ts';

/** Times a write is put off, so that a storm of updates costs one write of the whole. */
const SAVE_DELAY_MS = 500;
const MAX_FILE_BYTES = 256 * 1_048_576;
const FORMAT = 1;

export type LastGoodSnapshot = { readonly snapshot: Snapshot; readonly savedAtMs: number };

/**
 * The last-good file. A write in progress never harms the old content (runtime's state file), and a file that is
 * damaged, of another format or too old is as good as none: the proxy then starts empty and says so.
 */
export class LastGood {
  readonly #file;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #maxAgeMs: number;
  readonly #onSaved: (snapshot: Snapshot) => void;
  #next: Snapshot | undefined;
  #timer: { cancel(): void } | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: { readonly path: string; readonly clock: Clock; readonly log: Log; readonly maxAgeMs: number; readonly onSaved?: ((snapshot: Snapshot) => void) | undefined }) {
    this.#file = openStateFile(options.path, { maxBytes: MAX_FILE_BYTES });
    this.#clock = options.clock;
    this.#log = options.log;
    this.#maxAgeMs = options.maxAgeMs;
    this.#onSaved = options.onSaved ?? (() => undefined);
  }

  async load(): Promise<LastGoodSnapshot | undefined> {
    try {
      const text = await this.#file.read();
      if (text === undefined) return undefined;
      const read = parseLastGood(text);
      if (typeof read === 'string') {
        this.#log.warn('last-good snapshot not used', { reason: read });
        return undefined;
      }
      const ageMs = this.#clock.nowMs() - read.savedAtMs;
      if (ageMs <= this.#maxAgeMs) return read;
      this.#log.warn('last-good snapshot is too old', { ageMs, maxAgeMs: this.#maxAgeMs });
    } catch (thrown) {
      this.#log.error('last-good snapshot cannot be read, starting without', { error: messageOf(thrown) });
    }
    return undefined;
  }

  /** Saves soon; of several only the latest. */
  save(snapshot: Snapshot): void {
    this.#next = snapshot;
    this.#timer ??= this.#clock.setTimer(SAVE_DELAY_MS, () => {
      this.#timer = undefined;
      void this.#write();
    });
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#write();
  }

  async #write(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    const snapshot = this.#next;
    if (snapshot === undefined) return;
    this.#next = undefined;
    const text = JSON.stringify({ format: FORMAT, savedAtMs: this.#clock.nowMs(), version: snapshot.version, resources: [...snapshot.resources.values()] });
    this.#writing = this.#file
      .write(text)
      .then(() => this.#onSaved(snapshot))
      .catch((thrown: unknown) => this.#log.warn('last-good snapshot not saved', { error: messageOf(thrown) }))
      .finally(() => {
        this.#writing = undefined;
      });
    await this.#writing;
  }
}

/** Reads a last-good file's text; a text says why it is not used. */
export function parseLastGood(text: string): LastGoodSnapshot | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  if (typeof json !== 'object' || json === null || !('format' in json) || json.format !== FORMAT) return 'it is of another format';
  const { savedAtMs, version, resources } = json as { savedAtMs?: unknown; version?: unknown; resources?: unknown };
  if (typeof savedAtMs !== 'number' || typeof version !== 'number' || !Array.isArray(resources)) return 'it lacks a field';
  const held = new Map<string, SnapshotResource>();
  for (const item of resources as readonly unknown[]) {
    const read = readJson(item);
    if (read.kind === 'problem') return read.reason;
    if (read.kind === 'resource') held.set(resourceName(read.resource), read.resource);
  }
  const snapshot: Snapshot = { version, resources: held };
  const [problem] = snapshotProblems(snapshot);
  return problem ?? { snapshot, savedAtMs };
}
