// Keys with their whole history by revision, in SQLite: what etcd calls mvcc.
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { KeyValue } from '../wire.ts';
import { refuse } from './refusal.ts';

/** One change of one key, as it happened. */
export interface Change {
  readonly rev: bigint;
  readonly key: Buffer;
  readonly value: Buffer;
  readonly createRevision: bigint;
  readonly version: bigint;
  readonly lease: bigint;
  readonly deleted: boolean;
}

/** `[key, end)`; an empty `end` is one key, `{0}` is "from key on". */
export interface Span {
  readonly key: Buffer;
  readonly end: Buffer;
}

type Row = { rev: bigint; key: Uint8Array; value: Uint8Array; create_rev: bigint; version: bigint; lease: bigint; deleted: bigint };
type Param = Uint8Array | bigint;

const COLUMNS = 'rev, key, value, create_rev, version, lease, deleted';

/**
 * The store's state. Writes happen between `begin` and `commit`; each `nextRevision` opens a revision that is only used
 * up when something was changed under it. Not safe for two writers: the server's write queue is the one.
 */
export class Mvcc {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly clusterId: bigint;
  readonly memberId: bigint;
  #revision: bigint;
  #compacted: bigint;
  #pending: Change[] = [];
  #sub = 0n;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.clusterId = this.#meta('cluster');
    this.memberId = this.#meta('member');
    this.#revision = this.#meta('revision');
    this.#compacted = this.#meta('compacted');
  }

  get revision(): bigint {
    return this.#revision;
  }

  get compactedRevision(): bigint {
    return this.#compacted;
  }

  begin(): void {
    this.#db.exec('BEGIN IMMEDIATE');
    this.#pending = [];
    this.#sub = 0n;
  }

  /** Makes everything since `begin` durable; returns the changes in order. */
  commit(): Change[] {
    this.#prepare("UPDATE meta SET value = ? WHERE name = 'revision'").run(this.#revision);
    this.#db.exec('COMMIT');
    const changes = this.#pending;
    this.#pending = [];
    return changes;
  }

  rollback(): void {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    this.#pending = [];
    this.#sub = 0n;
    this.#revision = this.#meta('revision');
    this.#compacted = this.#meta('compacted');
  }

  /** The revision a write made now would get. */
  get writeRevision(): bigint {
    return this.#revision + 1n;
  }

  /** Closes the revision: if anything was written since the last call it becomes the current one. Returns the current one. */
  endRevision(): bigint {
    if (this.#sub > 0n) {
      this.#revision += 1n;
      this.#sub = 0n;
    }
    return this.#revision;
  }

  /** Revision as seen inside an open request: grown as soon as it has written something. */
  get seenRevision(): bigint {
    return this.#sub > 0n ? this.#revision + 1n : this.#revision;
  }

  put(key: Buffer, value: Buffer, lease: bigint): Change | undefined {
    const before = this.get(key);
    this.#write({
      rev: this.writeRevision,
      key,
      value,
      createRevision: before?.createRevision ?? this.writeRevision,
      version: (before?.version ?? 0n) + 1n,
      lease,
      deleted: false,
    });
    return before;
  }

  delete(span: Span): Change[] {
    const gone = this.range(span, 0n, 0n);
    for (const { key } of gone) {
      this.#write({ rev: this.writeRevision, key, value: Buffer.alloc(0), createRevision: 0n, version: 0n, lease: 0n, deleted: true });
    }
    return gone;
  }

  get(key: Buffer): Change | undefined {
    const row = this.#prepare(`SELECT ${COLUMNS} FROM kv WHERE live = 1 AND key = ?`).get(key) as Row | undefined;
    return row === undefined ? undefined : toChange(row);
  }

  /** Live keys of a span in order, as they were at `revision` (0: now). `limit` 0 is no limit. **Throws** compacted, futureRevision. */
  range(span: Span, revision: bigint, limit: bigint): Change[] {
    const { where, params } = this.#at(span, revision);
    const rows = this.#prepare(`SELECT ${COLUMNS} FROM kv k WHERE ${where} ORDER BY key LIMIT ?`).all(...params, limit === 0n ? -1n : limit);
    return (rows as Row[]).map(toChange);
  }

  count(span: Span, revision: bigint): bigint {
    const { where, params } = this.#at(span, revision);
    return (this.#prepare(`SELECT count(*) AS n FROM kv k WHERE ${where}`).get(...params) as { n: bigint }).n;
  }

  /** Changes of a span with `from ≤ rev ≤ current`, at most about `limit` of them but always whole revisions. */
  history(span: Span, from: bigint, limit: number): { readonly changes: Change[]; readonly next: bigint } {
    const { where, params } = spanWhere(span);
    const sql = (tail: string): string => `SELECT ${COLUMNS} FROM kv WHERE ${tail} AND ${where} ORDER BY rev, sub`;
    const rows = this.#prepare(`${sql('rev >= ?')} LIMIT ?`).all(from, ...params, BigInt(limit)) as Row[];
    const last = rows.at(-1);
    if (rows.length < limit || last === undefined) return { changes: rows.map(toChange), next: this.#revision + 1n };
    const whole = rows.filter((row) => row.rev < last.rev);
    if (whole.length > 0) return { changes: whole.map(toChange), next: last.rev };
    const one = this.#prepare(sql('rev = ?')).all(last.rev, ...params) as Row[];
    return { changes: one.map(toChange), next: last.rev + 1n };
  }

  /** The value of a key just before a revision, if it was there and is not compacted away. */
  before(key: Buffer, revision: bigint): Change | undefined {
    const row = this.#prepare(`SELECT ${COLUMNS} FROM kv WHERE key = ? AND rev < ? ORDER BY rev DESC LIMIT 1`).get(key, revision) as Row | undefined;
    return row === undefined || row.deleted === 1n ? undefined : toChange(row);
  }

  /** Forgets what was overwritten or deleted at or before `revision`; a delete at `revision` itself stays visible to watches. */
  compact(revision: bigint): void {
    if (revision <= this.#compacted) throw refuse.compacted();
    if (revision > this.#revision) throw refuse.futureRevision();
    this.#prepare(
      `DELETE FROM kv WHERE rev <= ?1 AND live = 0 AND ((deleted = 1 AND rev < ?1)
        OR EXISTS (SELECT 1 FROM kv n WHERE n.key = kv.key AND n.rev > kv.rev AND n.rev <= ?1))`,
    ).run(revision);
    this.#prepare("UPDATE meta SET value = ? WHERE name = 'compacted'").run(revision);
    this.#compacted = revision;
  }

  leases(): { readonly id: bigint; readonly ttlSeconds: bigint; readonly keys: Buffer[] }[] {
    const leases = this.#prepare('SELECT id, ttl_seconds FROM lease').all() as { id: bigint; ttl_seconds: bigint }[];
    const held = this.#prepare('SELECT key, lease FROM kv WHERE live = 1 AND lease <> 0').all() as { key: Uint8Array; lease: bigint }[];
    return leases.map(({ id, ttl_seconds }) => ({
      id,
      ttlSeconds: ttl_seconds,
      keys: held.filter((row) => row.lease === id).map((row) => asBuffer(row.key)),
    }));
  }

  putLease(id: bigint, ttlSeconds: bigint): void {
    this.#prepare('INSERT INTO lease (id, ttl_seconds) VALUES (?, ?)').run(id, ttlSeconds);
  }

  deleteLease(id: bigint): void {
    this.#prepare('DELETE FROM lease WHERE id = ?').run(id);
  }

  sizeBytes(): { readonly all: bigint; readonly used: bigint } {
    const value = (pragma: string): bigint => Object.values(this.#prepare(`PRAGMA ${pragma}`).get() as Record<string, bigint>)[0] ?? 0n;
    const page = value('page_size');
    const pages = value('page_count');
    return { all: page * pages, used: page * (pages - value('freelist_count')) };
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #write(change: Change): void {
    this.#prepare('UPDATE kv SET live = 0 WHERE live = 1 AND key = ?').run(change.key);
    this.#prepare('INSERT INTO kv (rev, sub, key, value, create_rev, version, lease, deleted, live) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
      change.rev,
      this.#sub,
      change.key,
      change.value,
      change.createRevision,
      change.version,
      change.lease,
      change.deleted ? 1n : 0n,
      change.deleted ? 0n : 1n,
    );
    this.#sub += 1n;
    this.#pending.push(change);
  }

  #at(span: Span, revision: bigint): { where: string; params: Param[] } {
    const { where, params } = spanWhere(span);
    if (revision > this.seenRevision) throw refuse.futureRevision();
    if (revision <= 0n || revision === this.seenRevision) return { where: `live = 1 AND ${where}`, params };
    if (revision < this.#compacted) throw refuse.compacted();
    const newest = 'rev <= ? AND deleted = 0 AND NOT EXISTS (SELECT 1 FROM kv n WHERE n.key = k.key AND n.rev > k.rev AND n.rev <= ?)';
    return { where: `${where} AND ${newest}`, params: [...params, revision, revision] };
  }

  #meta(name: string): bigint {
    return (this.#prepare('SELECT value FROM meta WHERE name = ?').get(name) as { value: bigint }).value;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** Whether a key lies in a span. */
export function inSpan(span: Span, key: Buffer): boolean {
  if (span.end.length === 0) return key.equals(span.key);
  return key.compare(span.key) >= 0 && (isOpenEnd(span.end) || key.compare(span.end) < 0);
}

export function toKeyValue(change: Change): KeyValue {
  return {
    key: change.key,
    value: change.value,
    createRevision: change.createRevision,
    modRevision: change.rev,
    version: change.version,
    lease: change.lease,
  };
}

function spanWhere(span: Span): { where: string; params: Param[] } {
  if (span.end.length === 0) return { where: 'key = ?', params: [span.key] };
  if (isOpenEnd(span.end)) return { where: 'key >= ?', params: [span.key] };
  return { where: 'key >= ? AND key < ?', params: [span.key, span.end] };
}

function isOpenEnd(end: Buffer): boolean {
  return end.length === 1 && end[0] === 0;
}

function toChange(row: Row): Change {
  return {
    rev: row.rev,
    key: asBuffer(row.key),
    value: asBuffer(row.value),
    createRevision: row.create_rev,
    version: row.version,
    lease: row.lease,
    deleted: row.deleted === 1n,
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
