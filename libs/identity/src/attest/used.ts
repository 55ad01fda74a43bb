// Evidence that was used, remembered in the store till it would run out anyway: so that no control plane of the cluster takes it twice.
import { messageOf } from '@isthmus/model';
import type { Clock, TimerHandle } from '@isthmus/runtime';
import { keys, type Store } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import type { Verdict } from './attestor.ts';

const SWEEP_EVERY_MS = 300_000;
/** Kept past the end by twice the clock skew a verifier allows. */
const KEEP_MS = 120_000;
const MAX_DELETES = 128;

/** The condition and the write that let evidence count once until `untilMs`. */
export function onceUntil(key: string, untilMs: number): Verdict['once'] {
  return { compare: [{ key, exists: false }], then: [{ put: { key, value: JSON.stringify({ untilMs }) } }] };
}

/** Deletes what is remembered of evidence that has run out, every 5 min; several control planes may do so at once. */
export function sweepUsedEvidence(options: { readonly store: Store; readonly clock: Clock; readonly log: Log }): { close(): Promise<void>; sweep(): Promise<number> } {
  const { store, clock, log } = options;
  let timer: TimerHandle | undefined;
  let isClosed = false;
  let underWay: Promise<unknown> = Promise.resolve();

  const sweep = async (): Promise<number> => {
    const { entries } = await store.list(keys.usedEvidence());
    const over = entries.filter(({ value }) => endOf(value) + KEEP_MS < clock.nowMs()).map(({ key }) => key);
    for (let i = 0; i < over.length && !isClosed; i += MAX_DELETES) {
      await store.txn({ compare: [], then: over.slice(i, i + MAX_DELETES).map((key) => ({ delete: { key } })) });
    }
    return over.length;
  };
  const arm = (): void => {
    timer = clock.setTimer(SWEEP_EVERY_MS, () => {
      underWay = sweep()
        .catch((error: unknown) => log.warn('used evidence could not be swept', { error: messageOf(error) }))
        .finally(() => {
          if (!isClosed) arm();
        });
    });
  };
  arm();
  return {
    sweep,
    async close() {
      isClosed = true;
      timer?.cancel();
      await underWay;
    },
  };
}

function endOf(value: Buffer): number {
  try {
    const record: unknown = JSON.parse(value.toString());
    return typeof record === 'object' && record !== null && 'untilMs' in record && typeof record.untilMs === 'number' ? record.untilMs : 0;
  } catch {
    return 0;
  }
}
