// The audit log: every write and every refusal in a hash-chained file, on disk before the answer leaves.
import { join } from 'node:path';
import { fail } from '@isthmus/api';
import { type Happening, openTransparencyLog } from '@isthmus/identity';
import { messageOf } from '@isthmus/model';
import { type Clock, makePrivateDir } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

/** `intent` before a change is tried, `done` or `failed` after it, `refused` where it was not let in. */
export type AuditEvent = 'intent' | 'done' | 'failed' | 'refused';
export type AuditRecord = {
  readonly event: AuditEvent;
  /** The request's id, the same in its answer and its log lines. */
  readonly request: string;
  readonly caller: string;
  /** Who issued the token the caller came with; the token itself is kept nowhere. */
  readonly issuer?: string;
  readonly forwardedBy?: string;
  readonly method: string;
  readonly path: string;
  readonly status?: number;
  readonly code?: string;
  readonly idempotencyKey?: string;
  /** SHA-256 of the body in hex: what was asked, without keeping it. */
  readonly bodySha256?: string;
};
/** A record with its place in the chain, counted from 1. */
export type AuditEntry = AuditRecord & { readonly sequence: number; readonly atMs: number };

export interface Audit {
  /** Resolves when the record is on disk. **Throws** API_AUDIT_UNWRITABLE; then nothing may be changed. */
  append(record: AuditRecord): Promise<void>;
  /** Newest first, before the sequence of an earlier answer's `next`. O(file). */
  read(options: { readonly limit: number; readonly before?: number }): Promise<{ readonly entries: readonly AuditEntry[]; readonly next?: number }>;
  close(): Promise<void>;
}

/** Records that wait for the disk; beyond them changes are refused. */
const MAX_WAITING = 4_096;
/** Records of one write and one sync. */
const BATCH = 256;

/**
 * Opens `audit.log` in the directory, checks its chain from the first record on, and goes on behind the last.
 * **Throws** IDENTITY_LOG_BROKEN where the file was changed by another hand.
 */
export async function openAudit(options: { readonly dir: string; readonly owner: string; readonly clock: Clock; readonly log: Log }): Promise<Audit> {
  const { dir, owner, clock, log } = options;
  await makePrivateDir(dir);
  // Checkpoints need a CA's key, which this process has not; the chain alone tells of a changed record.
  const sign = () => Promise.reject(new Error('an admin API signs no checkpoints'));
  const chain = await openTransparencyLog({ path: join(dir, 'audit.log'), owner, sign, checkpointEvery: Number.POSITIVE_INFINITY, clock, log });
  type Waiting = { readonly happening: Happening; readonly resolve: () => void; readonly reject: (error: Error) => void };
  let waiting: Waiting[] = [];
  let writing: Promise<void> | undefined;

  /** All that came while the disk was busy goes out in one write and one sync. */
  const writeAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      try {
        await chain.append(batch.map((w) => w.happening));
        for (const one of batch) one.resolve();
      } catch (error) {
        log.error('the audit log cannot be written, changes are refused', { error: messageOf(error) });
        for (const one of batch) one.reject(fail('API_AUDIT_UNWRITABLE', `the audit log cannot be written: ${messageOf(error)}`, { hint: 'free some space; nothing is changed until it can be written again', cause: error }));
      }
    }
  };
  const start = (): void => {
    writing ??= writeAll().finally(() => {
      writing = undefined;
      if (waiting.length > 0) start();
    });
  };
  return {
    append: ({ event, ...facts }) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= MAX_WAITING) {
          reject(fail('API_AUDIT_UNWRITABLE', 'the audit log is too slow: too many records wait for the disk'));
          return;
        }
        waiting.push({ happening: { kind: event, facts: wellFormed(facts) }, resolve, reject });
        start();
      }),
    read: async ({ limit, before }) => {
      const end = Math.min(chain.head().records, Math.max(0, (before ?? Number.POSITIVE_INFINITY) - 1));
      const from = Math.max(0, end - limit);
      const records = await chain.read(from, end - from);
      const entries = records.map(({ index, atMs, kind, facts }) => ({ sequence: index + 1, atMs, event: kind, ...facts }) as unknown as AuditEntry);
      return { entries: entries.toReversed(), ...(from > 0 && { next: from + 1 }) };
    },
    close: async () => {
      await writing;
      await chain.close();
    },
  };
}

/** What came from outside may hold half a character, which has no bytes on disk. */
function wellFormed(facts: Omit<AuditRecord, 'event'>): Happening['facts'] {
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, typeof value === 'string' ? value.toWellFormed() : value]));
}
