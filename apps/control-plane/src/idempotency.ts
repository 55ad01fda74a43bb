// Writes that are remembered: a second one with the same key has no effect and the first one's answer, also after a crash.
import { createHash } from 'node:crypto';
import { messageOf } from '@isthmus/model';
import type { admin } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import { keys, type Store, type StoreCompare, type StoreWrite } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import { fail } from './errors.ts';

/** How long a write is remembered. */
export const REMEMBERED_MS = 24 * 3_600_000;
/** So many are remembered at once; then writes with a new key are refused, since forgetting one could do a write twice. */
export const MAX_REMEMBERED = 10_000;
const SWEEP_EVERY_MS = 60_000;
const MAX_KEY_CHARS = 255;

export type Outcome = Readonly<Record<string, unknown>>;

/** What is known of one write's key. */
export type Memory = {
  /** Undefined where the write came without one. */
  readonly key: string | undefined;
  /** The answer of the first write with this key. **Throws** CONTROL_PLANE_KEY_REUSED when that was another write. */
  earlier(): Promise<Outcome | undefined>;
  /** What makes the transaction of the write remember it, and fail where another with its key came first. */
  writes(outcome: object): { readonly compare: readonly StoreCompare[]; readonly then: readonly StoreWrite[] };
  /** Takes back what a write remembered that was undone. */
  forget(): Promise<void>;
};

export interface Idempotency {
  /** **Throws** CONTROL_PLANE_RESOURCE_INVALID for a key that is too long. */
  of(write: admin.Write | undefined, fingerprint: string): Memory;
  close(): Promise<void>;
}

/** Remembers in the store, in the transaction of the write itself; what is older than a day is swept once a minute. */
export function openIdempotency(options: { readonly store: Store; readonly clock: Clock; readonly log: Log }): Idempotency {
  const { store, clock, log } = options;
  const closed = new AbortController();
  let rememberedCount = 0;

  const sweep = async (): Promise<void> => {
    const { entries } = await store.list(keys.idempotencies());
    const nowMs = clock.nowMs();
    rememberedCount = entries.length;
    for (const entry of entries) {
      if (closed.signal.aborted) return;
      const kept = read(entry.value);
      if (kept !== undefined && kept.expiresAtMs > nowMs) continue;
      await store.delete(entry.key);
      rememberedCount -= 1;
    }
  };
  const sweeping = (async () => {
    while (!closed.signal.aborted) {
      await sweep().catch((error: unknown) => closed.signal.aborted || log.warn('remembered writes could not be swept', { error: messageOf(error) }));
      await clock.sleep(SWEEP_EVERY_MS, closed.signal).catch(() => undefined);
    }
  })();

  return {
    of: (write, text) => {
      const given = write?.idempotencyKey ?? '';
      if (given === '' || write === undefined || write.dryRun) return { key: undefined, earlier: async () => undefined, writes: () => ({ compare: [], then: [] }), forget: async () => undefined };
      if (given.length > MAX_KEY_CHARS) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `idempotency key: at most ${MAX_KEY_CHARS} characters`);
      const key = keys.idempotency(hash(JSON.stringify([write.caller, given])));
      const fingerprint = hash(text);
      return {
        key,
        earlier: async () => {
          const found = await store.get(key);
          const kept = found === undefined ? undefined : read(found.value);
          if (kept === undefined || kept.expiresAtMs <= clock.nowMs()) {
            if (found !== undefined) await store.delete(key);
            if (rememberedCount >= MAX_REMEMBERED) throw fail('CONTROL_PLANE_MEMORY_FULL', `${MAX_REMEMBERED} writes with idempotency keys are remembered already`, { hint: 'write without a key, or later' });
            return undefined;
          }
          if (kept.fingerprint !== fingerprint) throw fail('CONTROL_PLANE_KEY_REUSED', 'the idempotency key was used for another write', { hint: 'use a new key for each write' });
          return kept.outcome;
        },
        writes: (outcome) => {
          rememberedCount += 1; // put right by the next sweep where the write fails
          const value = JSON.stringify({ fingerprint, expiresAtMs: clock.nowMs() + REMEMBERED_MS, outcome });
          return { compare: [{ key, exists: false }], then: [{ put: { key, value } }] };
        },
        forget: async () => void (await store.delete(key)),
      };
    },
    close: async () => {
      closed.abort();
      await sweeping;
    },
  };
}

type Kept = { readonly fingerprint: string; readonly expiresAtMs: number; readonly outcome: Outcome };

function read(value: Uint8Array): Kept | undefined {
  try {
    const kept = JSON.parse(Buffer.from(value).toString('utf8')) as Partial<Kept>;
    return typeof kept.fingerprint === 'string' && typeof kept.expiresAtMs === 'number' && typeof kept.outcome === 'object' ? (kept as Kept) : undefined;
  } catch {
    return undefined;
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
