// The embedded store's SQLite file: made whole or not at all, held by one process, checked before it is trusted.
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';

const LAYOUT_VERSION = 1;

/* One row a change of a key. `live` marks the newest row of a key that is there; `kv_live` is the current state. */
const LAYOUT = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  CREATE TABLE kv (
    rev INTEGER NOT NULL, sub INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, create_rev INTEGER NOT NULL,
    version INTEGER NOT NULL, lease INTEGER NOT NULL, deleted INTEGER NOT NULL, live INTEGER NOT NULL,
    PRIMARY KEY (rev, sub)
  ) STRICT;
  CREATE UNIQUE INDEX kv_live ON kv (key) WHERE live = 1;
  CREATE UNIQUE INDEX kv_history ON kv (key, rev);
  CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_seconds INTEGER NOT NULL) STRICT;
`;

/**
 * Opens the file, making it (0600) if it is not there.
 * **Throws** STORE_NEWER: a newer version made it; STORE_FILE_CORRUPT: damaged, cut short or not a store; STORE_FILE_UNUSABLE: no right, no room, or another process has it.
 */
export function openDatabase(path: string): DatabaseSync {
  if (!existsSync(path)) makeDatabase(path);
  if (statSync(path).size === 0) throw corrupt(path, 'it is empty');
  let db: DatabaseSync;
  try {
    db = new DatabaseSync(path);
  } catch (error) {
    throw fail('STORE_FILE_UNUSABLE', `cannot open the store file ${path}: ${messageOf(error)}`, { facts: { path }, cause: error });
  }
  try {
    pragmas(db);
    const problems = db.prepare('PRAGMA quick_check(1)').all() as { quick_check: string }[];
    if (problems[0]?.quick_check !== 'ok') throw corrupt(path, problems[0]?.quick_check ?? 'it cannot be checked');
    const layout = db.prepare("SELECT value FROM meta WHERE name = 'layout'").get() as { value: number } | undefined;
    if (layout !== undefined && layout.value > LAYOUT_VERSION) {
      throw fail('STORE_NEWER', `the store file ${path} was written by a newer version of this program: its layout is ${layout.value}, this one knows ${LAYOUT_VERSION}`, { hint: 'install the newer version again; nothing was changed', facts: { path } });
    }
    if (layout?.value !== LAYOUT_VERSION) throw corrupt(path, `its layout is ${layout?.value ?? 'unknown'}, not ${LAYOUT_VERSION}`);
    return db;
  } catch (error) {
    db.close();
    throw toFailure(path, error);
  }
}

/** Makes the file beside its place and renames it, so that an empty or half-made file is never taken for a new store. */
function makeDatabase(path: string): void {
  const draft = `${path}.new`;
  try {
    rmSync(draft, { force: true });
    closeSync(openSync(draft, 'wx', 0o600));
    const db = new DatabaseSync(draft);
    db.exec('PRAGMA synchronous = FULL; BEGIN');
    db.exec(LAYOUT);
    const insert = db.prepare('INSERT INTO meta (name, value) VALUES (?, ?)');
    insert.run('layout', LAYOUT_VERSION);
    insert.run('cluster', randomId());
    insert.run('member', randomId());
    insert.run('revision', 1);
    insert.run('compacted', 0);
    db.exec('COMMIT');
    db.close();
    renameSync(draft, path);
    const directory = openSync(dirname(path), 'r');
    fsyncSync(directory);
    closeSync(directory);
  } catch (error) {
    throw fail('STORE_FILE_UNUSABLE', `cannot make the store file ${path}: ${messageOf(error)}`, { facts: { path }, cause: error });
  }
}

function pragmas(db: DatabaseSync): void {
  // EXCLUSIVE: a second process fails at once instead of writing beside us.
  db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  db.exec('BEGIN IMMEDIATE; COMMIT');
}

/** 63 random bits: etcd's ids are uint64, SQLite's integers int64. */
export function randomId(): bigint {
  return (randomBytes(8).readBigUInt64BE() >> 1n) | 1n;
}

function toFailure(path: string, error: unknown): unknown {
  const code = (error as { errcode?: number }).errcode;
  if (code === undefined) return error;
  const SQLITE_CORRUPT = 11;
  const SQLITE_NOTADB = 26;
  if ((code & 0xff) === SQLITE_CORRUPT || (code & 0xff) === SQLITE_NOTADB || /no such table/.test(messageOf(error))) {
    return corrupt(path, messageOf(error), error);
  }
  return fail('STORE_FILE_UNUSABLE', `cannot use the store file ${path}: ${messageOf(error)}`, {
    hint: 'Is another process using it, or is the disk full or read-only?',
    facts: { path },
    cause: error,
  });
}

function corrupt(path: string, why: string, cause?: unknown): Error {
  return fail('STORE_FILE_CORRUPT', `the store file ${path} is damaged: ${why}`, {
    hint: 'Put back a copy of the file, or move it away to start with an empty store: agents and peers report again on their own, resources have to be applied again.',
    facts: { path },
    cause,
  });
}
