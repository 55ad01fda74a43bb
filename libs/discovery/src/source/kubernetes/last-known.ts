// What was last declared by Kubernetes, on disk: so that a control plane that starts while the API server is away has it.
import { type Export, messageOf, parseExport, parseService, type Service } from '@isthmus/model';
import type { Clock, StateFile, TimerHandle } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

export type LastKnown = {
  readonly services: readonly Service[];
  readonly exports: readonly Export[];
  /** Unix time each export was made at, by name. */
  readonly exportedAtMs: Readonly<Record<string, number>>;
};
export const NOTHING_KNOWN: LastKnown = { services: [], exports: [], exportedAtMs: {} };

/** Changes within this time are one write. */
const SETTLE_MS = 1_000;

/** Reads the file; nothing where there is none or it cannot be used, which is logged: it is a copy of what the API server has. */
export async function readLastKnown(file: StateFile, log: Log): Promise<LastKnown> {
  try {
    const text = await file.read();
    if (text === undefined) return NOTHING_KNOWN;
    const json: unknown = JSON.parse(text);
    if (typeof json !== 'object' || json === null || !('services' in json) || !('exports' in json) || !Array.isArray(json.services) || !Array.isArray(json.exports)) return NOTHING_KNOWN;
    return {
      services: json.services.flatMap((input: unknown) => takeIfGood(parseService(input))),
      exports: json.exports.flatMap((input: unknown) => takeIfGood(parseExport(input))),
      exportedAtMs: timesIn('exportedAtMs' in json ? json.exportedAtMs : undefined),
    };
  } catch (error) {
    log.error('what Kubernetes last declared cannot be read from disk', { file: file.path, error: messageOf(error) });
    return NOTHING_KNOWN;
  }
}

function timesIn(input: unknown): Readonly<Record<string, number>> {
  if (typeof input !== 'object' || input === null) return {};
  return Object.fromEntries(Object.entries(input).filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] >= 0));
}

function takeIfGood<T>(read: { readonly ok: true; readonly value: T } | { readonly ok: false }): readonly T[] {
  return read.ok ? [read.value] : [];
}

/** Writes the state some time after it changed; the last one at the close. */
export function openLastKnownWriter(options: { readonly file: StateFile; readonly read: () => LastKnown; readonly clock: Clock; readonly log: Log }): { changed(): void; close(): Promise<void> } {
  let timer: TimerHandle | undefined;
  let last: Promise<void> = Promise.resolve();
  const write = (): void => {
    timer = undefined;
    last = options.file.write(JSON.stringify(options.read())).catch((error: unknown) => options.log.warn('what Kubernetes declares cannot be kept on disk', { error: messageOf(error) }));
  };
  return {
    changed() {
      timer ??= options.clock.setTimer(SETTLE_MS, write);
    },
    async close() {
      if (timer !== undefined) {
        timer.cancel();
        write();
      }
      await last;
    },
  };
}
