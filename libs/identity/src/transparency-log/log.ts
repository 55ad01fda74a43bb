// The log of a program that runs: opened and checked, appended to durably, with checkpoints; never held in memory.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatProblems, messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { sha256Hex } from '@isthmus/pki';
import { fail } from '../errors.ts';
import { openSerial } from '../serial.ts';
import { CHECKPOINT, type CheckpointSigner, signCheckpoint } from './checkpoint.ts';
import { linesOf } from './lines.ts';
import { chainRecord, type Happening, type Head, lineOf, type LogRecord, parseLine } from './record.ts';
import { ChainCheck } from './verify.ts';

export type TransparencyLogOptions = {
  /** The file, mode 0600. */
  readonly path: string;
  /** Trust domain whose CA signs the checkpoints. */
  readonly owner: string;
  /** Signs a checkpoint now; may fail while the owner has no valid CA. */
  readonly sign: CheckpointSigner;
  /** Sees each record that is in the file already, oldest first. */
  readonly replay?: (record: LogRecord) => void;
  /** A checkpoint follows after this many other records. Default 1,000. */
  readonly checkpointEvery?: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics | undefined;
};

export interface TransparencyLog {
  readonly path: string;
  /** Where the log stands: durable records only. */
  head(): Head;
  /** Whether the last append was made durable; false while the disk is full. */
  isWritable(): boolean;
  /**
   * Appends all or none, in order; they are on disk (fsync) when it resolves. An empty list does nothing.
   * **Throws** IDENTITY_LOG_UNWRITABLE, leaving the log as it was.
   */
  append(happenings: readonly Happening[]): Promise<Head>;
  /** Signs and appends a checkpoint now; the head with it. **Throws** IDENTITY_LOG_UNWRITABLE, or why it could not be signed. */
  checkpoint(): Promise<Head>;
  /** The records from `fromIndex` on, at most `limit`, read from the file. */
  read(fromIndex: number, limit: number): Promise<readonly LogRecord[]>;
  close(): Promise<void>;
}

const DEFAULT_CHECKPOINT_EVERY = 1_000;

/**
 * Opens or makes the log, checks all of it, cuts off a line that kill -9 left unfinished and says so in a record of its own.
 * **Throws** IDENTITY_LOG_BROKEN naming the first bad line, IDENTITY_LOG_UNWRITABLE, STATE_EXPOSED.
 */
export async function openTransparencyLog(options: TransparencyLogOptions): Promise<TransparencyLog> {
  const { path } = options;
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW, 0o600).catch((cause: unknown) => {
    throw unwritable(path, cause);
  });
  try {
    await refuseExposed(file, path);
    const found = await readAll(file, options);
    await syncDirectory(path);
    const log = new FileLog(file, options, found);
    if (found.torn !== undefined) await log.cut(found.torn);
    return log;
  } catch (error) {
    await file.close();
    throw error;
  }
}

type Found = { readonly head: Head; readonly sizeBytes: number; readonly sinceCheckpoint: number; readonly torn: Buffer | undefined };

async function readAll(file: FileHandle, { path, replay }: TransparencyLogOptions): Promise<Found> {
  const check = new ChainCheck();
  let [sizeBytes, torn] = [0, undefined as Buffer | undefined];
  for await (const line of linesOf(file)) {
    if (line.isTorn) {
      torn = line.bytes;
      break;
    }
    const taken = check.take(line.bytes);
    if (!taken.ok) {
      throw fail('IDENTITY_LOG_BROKEN', `${path}, line ${check.head.records + 1}: ${taken.why}`, {
        hint: 'keep the file as evidence, and restore the last good log from a backup; nothing is issued until then',
        facts: { path, line: check.head.records + 1 },
      });
    }
    sizeBytes = line.startBytes + line.bytes.length + 1;
    replay?.(taken.record);
  }
  return { head: check.head, sizeBytes, sinceCheckpoint: check.head.records - check.coveredRecords, torn };
}

class FileLog implements TransparencyLog {
  readonly path: string;
  private readonly file: FileHandle;
  private readonly options: TransparencyLogOptions;
  private readonly serial = openSerial();
  private readonly written;
  private readonly state;
  private at: Head;
  private sizeBytes: number;
  private sinceCheckpoint: number;
  private writable = true;
  /** Whether the file may end in what this process failed to write, or found torn. */
  private hasRest: boolean;

  constructor(file: FileHandle, options: TransparencyLogOptions, found: Found) {
    this.path = options.path;
    this.file = file;
    this.options = options;
    this.at = found.head;
    this.sizeBytes = found.sizeBytes;
    this.sinceCheckpoint = found.sinceCheckpoint;
    this.hasRest = found.torn !== undefined;
    this.written = options.metrics?.counter('isthmus_identity_log_records_total', 'Records appended to the transparency log, by kind', ['kind']);
    this.state = options.metrics?.gauge('isthmus_identity_log_writable', '1 while the transparency log takes records, 0 while it cannot be written and nothing that needs a record is done');
    this.state?.set(1);
  }

  head(): Head {
    return this.at;
  }

  isWritable(): boolean {
    return this.writable;
  }

  append(happenings: readonly Happening[]): Promise<Head> {
    return this.serial(async () => {
      if (happenings.length === 0) return this.at;
      await this.write(happenings);
      if (this.sinceCheckpoint >= (this.options.checkpointEvery ?? DEFAULT_CHECKPOINT_EVERY)) {
        await this.writeCheckpoint().catch((error: unknown) => this.options.log.warn('no checkpoint could be put into the transparency log', { error: messageOf(error) }));
      }
      return this.at;
    });
  }

  checkpoint(): Promise<Head> {
    return this.serial(() => this.writeCheckpoint());
  }

  async read(fromIndex: number, limit: number): Promise<readonly LogRecord[]> {
    const records: LogRecord[] = [];
    const end = Math.min(this.at.records, fromIndex + limit);
    let index = 0;
    for await (const { bytes, isTorn } of linesOf(this.file)) {
      if (isTorn || index >= end) break;
      if (index++ < fromIndex) continue;
      const parsed = parseLine(bytes);
      if (!parsed.ok) throw fail('IDENTITY_LOG_BROKEN', `${this.path}, line ${index}: ${formatProblems(parsed.problems)}`);
      records.push(parsed.value);
    }
    return records;
  }

  async close(): Promise<void> {
    await this.serial(() => this.file.close());
  }

  /** Cuts off what a stop in the middle of a write left, and keeps its size and hash in the log. */
  cut(torn: Buffer): Promise<void> {
    return this.serial(async () => {
      this.options.log.warn('the transparency log ended within a line, which was cut off', { path: this.path, bytes: torn.length });
      await this.write([{ kind: 'torn-line-cut', facts: { bytes: torn.length, sha256: sha256Hex(torn) } }]);
    });
  }

  private async writeCheckpoint(): Promise<Head> {
    const checkpoint = await signCheckpoint(this.options.owner, this.at, this.options.sign);
    await this.write([checkpoint]);
    return this.at;
  }

  private async write(happenings: readonly Happening[]): Promise<void> {
    let head = this.at;
    const lines = happenings.map((happening) => {
      const record = chainRecord(head, this.options.clock.nowMs(), happening);
      head = { records: record.index + 1, hash: record.hash };
      return lineOf(record);
    });
    const bytes = Buffer.from(lines.join(''));
    try {
      await this.matchSize();
      this.hasRest = true;
      for (let from = 0; from < bytes.length; ) from += (await this.file.write(bytes, from)).bytesWritten;
      await this.file.sync();
    } catch (error) {
      this.setWritable(false);
      throw unwritable(this.path, error);
    }
    this.setWritable(true);
    this.hasRest = false;
    this.at = head;
    this.sizeBytes += bytes.length;
    this.sinceCheckpoint = happenings.at(-1)?.kind === CHECKPOINT ? 0 : this.sinceCheckpoint + happenings.length;
    for (const { kind } of happenings) this.written?.inc({ kind });
  }

  /** The file is as long as the records this process knows of: more is the rest of a failed write, less is another hand. */
  private async matchSize(): Promise<void> {
    const { size } = await this.file.stat();
    if (size === this.sizeBytes) return;
    if (size < this.sizeBytes || !this.hasRest) throw new Error(`it has ${size} bytes where ${this.sizeBytes} were written: another program changed it`);
    await this.file.truncate(this.sizeBytes);
  }

  private setWritable(writable: boolean): void {
    this.writable = writable;
    this.state?.set(writable ? 1 : 0);
  }
}

async function refuseExposed(file: FileHandle, path: string): Promise<void> {
  const { mode } = await file.stat();
  if ((mode & 0o022) !== 0) throw fail('IDENTITY_LOG_UNWRITABLE', `${path} may be written by others`, { hint: `chmod 600 ${path}, and check it with isthmus trust verify-log` });
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r');
  await directory.sync().finally(() => directory.close());
}

function unwritable(path: string, cause: unknown): Error {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const why = code === 'ENOSPC' || code === 'EDQUOT' ? 'the disk is full' : messageOf(cause);
  return fail('IDENTITY_LOG_UNWRITABLE', `${path} could not be written: ${why}`, { cause, hint: 'free some space; what needs a record is refused until then, the rest goes on', facts: { path } });
}
