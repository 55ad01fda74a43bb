// A client's time limits: what runs over them, and what does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FakeClock, fakeClock } from '@isthmus/runtime/testing';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { ExchangeLimit, type ExchangeLimited } from './exchange-limit.ts';

class Connection implements ExchangeLimited {
  readonly stream = { bytesRead: 0, bytesWritten: 0 };
  readonly clock: FakeClock = fakeClock();
  readonly limit = new ExchangeLimit(this, this.clock, { ...HTTP_LIMITS, headMs: 1_000, idleMs: 3_000 });
  active = 1;
  isInHead = false;
  readonly told: string[] = [];

  timedOut(detail: string): void {
    this.told.push(detail);
  }
}

test('an exchange on which no byte moves for the idle limit is over', async () => {
  const connection = new Connection();
  connection.limit.watch();
  await connection.clock.advance(3_900);
  assert.deepEqual(connection.told, [], 'the limit is counted from the first look');
  await connection.clock.advance(1_100);
  assert.deepEqual(connection.told, ['no byte moved within the idle limit']);
  assert.equal(connection.clock.pending(), 0);
});

test('bytes either way keep an exchange alive', async () => {
  const connection = new Connection();
  connection.limit.watch();
  for (let i = 0; i < 10; i++) {
    connection.stream[i % 2 === 0 ? 'bytesRead' : 'bytesWritten'] += 1;
    await connection.clock.advance(2_000);
  }
  assert.deepEqual(connection.told, []);
  connection.limit.stop();
});

test('a head that drips is over at its limit, however much moves', async () => {
  const connection = new Connection();
  connection.limit.watch();
  await connection.clock.advance(500);
  connection.isInHead = true;
  connection.limit.headBegan();
  for (let i = 0; i < 14; i++) {
    assert.deepEqual(connection.told, []);
    connection.stream.bytesRead += 1;
    await connection.clock.advance(100);
  }
  await connection.clock.advance(100);
  assert.deepEqual(connection.told, ['the response head did not come whole within the time limit']);
});

test('an idle connection has no timer, and nothing is carried over to its next exchange', async () => {
  const connection = new Connection();
  connection.limit.watch();
  connection.limit.watch();
  assert.equal(connection.clock.pending(), 1);
  await connection.clock.advance(2_500);
  connection.active = 0;
  await connection.clock.advance(60_000);
  assert.equal(connection.clock.pending(), 0);
  connection.active = 1;
  connection.limit.watch();
  await connection.clock.advance(3_500);
  assert.deepEqual(connection.told, []);
  connection.limit.stop();
  assert.equal(connection.clock.pending(), 0);
});
