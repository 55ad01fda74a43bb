import assert from 'node:assert/strict';
import test from 'node:test';
import { defineErrors, ERROR_CLASSES, IsthmusError, messageOf } from './error.ts';

const fail = defineErrors({ TEST_AWAY: { class: 'unavailable', doc: 'It is away.' } });

test('an error carries its code, class, hint, facts and cause', () => {
  const cause = new Error('ECONNREFUSED');
  const error = fail('TEST_AWAY', 'the store is away', { hint: 'start it', facts: { port: 2379 }, cause });
  assert.ok(error instanceof IsthmusError && error instanceof Error);
  assert.deepEqual([error.code, error.class, error.message, error.hint, error.facts, error.cause], ['TEST_AWAY', 'unavailable', 'the store is away', 'start it', { port: 2379 }, cause]);
});

test('no code is thrown that is in no catalogue', () => {
  assert.throws(() => fail('TEST_UNKNOWN' as 'TEST_AWAY', 'x'), TypeError);
});

test('only what may pass by itself is worth trying again, and every class has a distinct gRPC status', () => {
  assert.deepEqual(Object.entries(ERROR_CLASSES).filter(([, c]) => c.retry).map(([name]) => name), ['exhausted', 'unavailable', 'timeout']);
  const statuses = Object.values(ERROR_CLASSES).map((c) => c.grpc);
  assert.equal(new Set(statuses).size, statuses.length);
  assert.ok(Object.values(ERROR_CLASSES).every((c) => c.exit >= 64 && c.exit <= 78 && c.http >= 400));
});

test('anything thrown has a message', () => {
  assert.equal(messageOf(new Error('a')), 'a');
  assert.equal(messageOf('b'), 'b');
  assert.equal(messageOf(undefined), 'undefined');
});
