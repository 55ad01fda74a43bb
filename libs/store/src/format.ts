// The format of what lies in a store: written once, and a store of a newer one is left alone.
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from './errors.ts';
import { keys } from './keys.ts';
import type { Store } from './store.ts';

/** The format this version reads and writes. A release that cannot be read by the one before raises it. */
export const STORE_FORMAT = 1;

/** A store that is away must not keep its control plane from starting; it is looked at when it comes back. */
const FIRST_LOOK_LIMIT_MS = 2_000;

export interface HeldFormat {
  close(): Promise<void>;
}

/**
 * Marks a store without a format with this one, and keeps watching: `onNewer` is told when a newer version, such as
 * another replica after its upgrade, raises it. **Throws** STORE_NEWER where that has happened before.
 */
export async function holdFormat(options: { readonly store: Store; readonly clock: Clock; readonly log: Log; readonly onNewer: (error: Error) => void }): Promise<HeldFormat> {
  const { store, clock, log, onNewer } = options;
  const ending = new AbortController();
  const looked = Promise.withResolvers<void>();
  let isStarting = true;
  const look = (value: Buffer | undefined): void => {
    const format = value === undefined ? STORE_FORMAT : Number(value.toString());
    if (format <= STORE_FORMAT) return looked.resolve();
    const error = fail('STORE_NEWER', `the store was written by a newer version of this program: its format is ${Number.isNaN(format) ? 'unknown' : format}, this one knows ${STORE_FORMAT}`, { hint: 'install the newer version again; nothing was changed' });
    if (isStarting) looked.reject(error);
    else onNewer(error);
  };
  const watching = (async () => {
    for await (const event of store.watch(keys.format(), { signal: ending.signal })) {
      if (event.kind === 'put') look(event.value);
      if (event.kind !== 'snapshot') continue;
      const held = event.entries.find((entry) => entry.key === keys.format());
      look(held?.value);
      if (held === undefined) await mark(store, log);
    }
  })()
    .catch((error: unknown) => log.warn('the format of the store is not watched', { error: messageOf(error) }))
    .finally(() => looked.resolve());
  const limit = clock.setTimer(FIRST_LOOK_LIMIT_MS, () => looked.resolve());
  const close = async (): Promise<void> => {
    ending.abort();
    await watching;
  };
  try {
    await looked.promise;
    return { close };
  } catch (error) {
    await close();
    throw error;
  } finally {
    isStarting = false;
    limit.cancel();
  }
}

/** Another replica may be first; a store that takes no writes is marked at the next start. */
async function mark(store: Store, log: Log): Promise<void> {
  await store
    .txn({ compare: [{ key: keys.format(), exists: false }], then: [{ put: { key: keys.format(), value: String(STORE_FORMAT) } }] })
    .catch((error: unknown) => log.warn('the store could not be marked with its format', { error: messageOf(error) }));
}
