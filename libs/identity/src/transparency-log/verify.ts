// Judging a whole log offline: every line, every hash, every checkpoint, and whether its end and its past are those once seen.
import type { FileHandle } from 'node:fs/promises';
import { formatProblems } from '@isthmus/model';
import { CHECKPOINT, isUnderRoot, verifyCheckpoint } from './checkpoint.ts';
import { linesOf } from './lines.ts';
import { chainProblem, EMPTY_HEAD, type Head, type LogRecord, parseLine } from './record.ts';

export type LogExpectation = {
  /** Hash of a record that must be in the log: one noted down earlier, such as the last checkpoint’s. */
  readonly checkpoint?: string | undefined;
  /** Root certificates (DER); the last checkpoint must be signed under one of them. */
  readonly roots?: readonly Buffer[] | undefined;
  /** Sees each record that holds, oldest first. */
  readonly onRecord?: (record: LogRecord) => void;
};

export type LogVerdict =
  | {
      readonly ok: true;
      readonly head: Head;
      readonly owner: string | undefined;
      readonly checkpoints: number;
      /** Records the last checkpoint covers; what comes after it could be cut off unseen. */
      readonly coveredRecords: number;
      readonly byKind: Readonly<Record<string, number>>;
      readonly firstAtMs: number | undefined;
      readonly lastAtMs: number | undefined;
      /** The file ends within a line, as kill -9 leaves it; the program cuts that off at its next start. */
      readonly hasTornEnd: boolean;
    }
  | { readonly ok: false; /** Counted from 1. */ readonly line: number; readonly why: string; readonly head: Head };

/** Takes records one by one and keeps only where the chain stands. */
export class ChainCheck {
  head: Head = EMPTY_HEAD;
  owner: string | undefined;
  checkpoints = 0;
  coveredRecords = 0;
  private lastSigner: { readonly chain: readonly Buffer[]; readonly atMs: number } | undefined;

  /** Why this line breaks the log, or the record it holds. */
  take(bytes: Uint8Array): { readonly ok: true; readonly record: LogRecord } | { readonly ok: false; readonly why: string } {
    const parsed = parseLine(bytes);
    if (!parsed.ok) return { ok: false, why: formatProblems(parsed.problems) };
    const record = parsed.value;
    const why = chainProblem(this.head, record) ?? (record.kind === CHECKPOINT ? this.takeCheckpoint(record) : undefined);
    if (why !== undefined) return { ok: false, why };
    this.head = { records: record.index + 1, hash: record.hash };
    return { ok: true, record };
  }

  /** Why the log is not proven by one of these roots, or undefined. */
  rootProblem(roots: readonly Buffer[]): string | undefined {
    if (this.lastSigner === undefined) return 'the log has no checkpoint, so no root vouches for it';
    return isUnderRoot(this.lastSigner.chain, roots, this.lastSigner.atMs) ? undefined : 'its last checkpoint is not signed under the given root';
  }

  private takeCheckpoint(record: LogRecord): string | undefined {
    const verdict = verifyCheckpoint(record);
    if (!verdict.ok) return verdict.why;
    if (this.owner !== undefined && this.owner !== verdict.owner) return `the checkpoint is ${verdict.owner}’s, the log is ${this.owner}’s`;
    this.owner = verdict.owner;
    this.checkpoints += 1;
    this.coveredRecords = record.index + 1;
    this.lastSigner = { chain: verdict.chain, atMs: record.atMs };
    return undefined;
  }
}

/** Reads the whole file, a piece at a time. Never throws but for errors of reading. */
export async function verifyLog(file: FileHandle, expected: LogExpectation = {}): Promise<LogVerdict> {
  const check = new ChainCheck();
  const byKind = new Map<string, number>();
  let [line, firstAtMs, lastAtMs, hasTornEnd] = [0, undefined as number | undefined, undefined as number | undefined, false];
  let isSeen = expected.checkpoint === undefined;
  const bad = (why: string): LogVerdict => ({ ok: false, line, why, head: check.head });
  for await (const { bytes, isTorn } of linesOf(file)) {
    if (isTorn) {
      hasTornEnd = true;
      break;
    }
    line += 1;
    const taken = check.take(bytes);
    if (!taken.ok) return bad(taken.why);
    const { record } = taken;
    firstAtMs ??= record.atMs;
    lastAtMs = record.atMs;
    byKind.set(record.kind, (byKind.get(record.kind) ?? 0) + 1);
    expected.onRecord?.(record);
    isSeen ||= record.hash === expected.checkpoint;
  }
  if (!isSeen) return bad(`no record has the hash ${expected.checkpoint}: the log was cut off before it, or written anew`);
  const problem = expected.roots === undefined ? undefined : check.rootProblem(expected.roots);
  if (problem !== undefined) return bad(problem);
  const { head, owner, checkpoints, coveredRecords } = check;
  return { ok: true, head, owner, checkpoints, coveredRecords, byKind: Object.fromEntries([...byKind].sort(([a], [b]) => (a < b ? -1 : 1))), firstAtMs, lastAtMs, hasTornEnd };
}
