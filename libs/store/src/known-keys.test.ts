// Old from new, and the difference to a list.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownKeys, type RawEvent } from './known-keys.ts';
import type { WholeList } from './list.ts';
import type { StoreEntry } from './store.ts';

const entry = (key: string, modRevision: bigint): StoreEntry => ({ key, value: Buffer.from('v'), createRevision: 1n, modRevision, version: 1n, leaseId: 0n });
const put = (key: string, modRevision: bigint): RawEvent => ({ kind: 'put', entry: entry(key, modRevision) });
const del = (key: string, modRevision: bigint): RawEvent => ({ kind: 'delete', key, modRevision });
const list = (revision: bigint, ...entries: StoreEntry[]): WholeList => ({ clusterId: 1n, revision, entries });

function known(...entries: StoreEntry[]): KnownKeys {
  const keys = new KnownKeys({ maxKeys: 100, maxValueBytes: 100 });
  keys.reset(list(10n, ...entries));
  return keys;
}

test('an event at or before the list is known already', () => {
  const keys = known(entry('a', 5n));
  assert.equal(keys.take(put('a', 5n)).kind, 'told');
  assert.equal(keys.take(del('gone', 9n)).kind, 'told');
});

test('an old event is never told, not even for a key that was deleted since', () => {
  const keys = known(entry('a', 5n));
  assert.equal(keys.take(put('a', 11n)).kind, 'new');
  assert.equal(keys.take(del('a', 12n)).kind, 'new');
  assert.equal(keys.take(put('a', 11n)).kind, 'old');
  assert.equal(keys.take(put('b', 12n)).kind, 'new', 'another key of the same transaction is no old event');
  assert.equal(keys.take(put('b', 12n)).kind, 'told');
});

test('the difference to a list is deletes, then puts in their order, and is empty the second time', () => {
  const keys = known(entry('a', 1n), entry('b', 2n), entry('c', 3n));
  const later = list(20n, entry('a', 1n), entry('c', 19n), entry('d', 15n));
  assert.deepEqual(keys.diff(later).changes.map((change) => `${change.kind} ${change.key}@${change.modRevision}`), ['delete b@20', 'put d@15', 'put c@19']);
  assert.deepEqual(keys.diff(later).changes, []);
  assert.equal(keys.take(put('b', 14n)).kind, 'told', 'an event from before the list does not bring a key back');
});

test('a list that is older, of another store, or has an older key contradicts what is known', () => {
  const keys = known(entry('a', 5n));
  assert.equal(keys.contradicts(list(10n, entry('a', 5n))), false);
  assert.equal(keys.contradicts(list(9n, entry('a', 5n))), true);
  assert.equal(keys.contradicts({ ...list(10n), clusterId: 2n }), true);
  assert.equal(keys.contradicts(list(11n, entry('a', 4n))), true);
});
