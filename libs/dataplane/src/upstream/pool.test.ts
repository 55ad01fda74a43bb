// Connections that requests share, on real sockets.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, test } from 'node:test';
import type { Clock } from '@isthmus/runtime';
import { systemClock } from '@isthmus/runtime';
import { fakeClock } from '@isthmus/runtime/testing';
import { type ClientConnection, HTTP_LIMITS, type RequestHead, type ResponseSink } from '../http/exchange.ts';
import { startApp } from '../proxy/testing.ts';
import { portableTransport } from '../transport/portable.ts';
import { openConnection } from './connect.ts';
import { ConnectionPool, type ConnectionPoolOptions, type ConnectionTaker, type PoolRefusal } from './pool.ts';

const transport = portableTransport();
const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers) await close();
});

const GET: RequestHead = { method: 'GET', target: '/', authority: 'a', scheme: 'http', headers: [], bodyBytes: 0, expectsContinue: false };

/** Takes a connection, asks it once, and says how that went. */
class Asker implements ConnectionTaker, ResponseSink {
  readonly answered = Promise.withResolvers<string>();
  readonly target: string;
  connection: ClientConnection | undefined;
  refusal: PoolRefusal | undefined;
  #text = '';

  constructor(target = '/') {
    this.target = target;
    this.answered.promise.catch(() => undefined);
  }

  taken(connection: ClientConnection): void {
    this.connection = connection;
    connection.request({ ...GET, target: this.target }, true, this);
  }

  refused(why: PoolRefusal): void {
    this.refusal = why;
    this.answered.reject(why.error);
  }

  inform(): void {}
  response(): void {}
  switched(): void {}
  drain(): void {}
  data(chunk: Buffer): void {
    this.#text += chunk.toString();
  }

  end(): void {
    this.answered.resolve(this.#text);
  }

  abort(why: { detail: string }): void {
    this.answered.reject(new Error(why.detail));
  }
}

/** An application whose answers to /wait are held until `release`, and a pool of connections to it. */
async function pooled(over: Partial<ConnectionPoolOptions> = {}) {
  const held: (() => void)[] = [];
  const sockets: Socket[] = [];
  const app = await startApp((request, response) => {
    const answer = (): void => void response.end(`by ${sockets.indexOf(request.socket)}`);
    if (request.url === '/wait') held.push(answer);
    else answer();
  });
  app.server.on('connection', (socket) => sockets.push(socket));
  let dials = 0;
  const dial = async (): Promise<ClientConnection> => {
    dials += 1;
    return openConnection(await transport.dial({ host: '127.0.0.1', port: app.port, timeoutMs: 2_000, allowHalfOpen: false }), '1.1', HTTP_LIMITS, transport);
  };
  const pool = new ConnectionPool({ dial, connections: 2, queue: 3, requestsPerConnection: 1, clock: systemClock as Clock, idleMs: 60_000, ...over });
  closers.push(() => pool.destroy(), () => app.destroy());
  const ask = (target?: string): Asker => {
    const asker = new Asker(target);
    pool.take(asker);
    return asker;
  };
  const heldRequests = async (count: number): Promise<void> => {
    while (held.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  return { app, pool, ask, dials: () => dials, heldRequests, release: () => held.splice(0).forEach((answer) => answer()), sockets };
}

test('one after another use one connection, and the one used last is used first', async () => {
  const { ask, dials, heldRequests, release } = await pooled();
  for (let i = 0; i < 5; i++) assert.equal(await ask().answered.promise, 'by 0');
  const [a, b] = [ask('/wait'), ask('/wait')];
  await heldRequests(2);
  release();
  await Promise.all([a.answered.promise, b.answered.promise]);
  assert.equal(dials(), 2);
  const last = await ask().answered.promise;
  for (let i = 0; i < 5; i++) assert.equal(await ask().answered.promise, last);
});

test('more than there may be connections wait in line, and more than the line holds are refused', async () => {
  const { ask, dials, pool, heldRequests, release } = await pooled();
  const first = [ask('/wait'), ask('/wait')];
  await heldRequests(2);
  const waiting = [ask(), ask(), ask()];
  assert.equal(ask().refusal?.kind, 'full');
  assert.deepEqual([dials(), pool.count, pool.waiting], [2, 2, 3]);
  release();
  await Promise.all([...first, ...waiting].map((asker) => asker.answered.promise));
  assert.deepEqual([dials(), pool.waiting], [2, 0]);
});

test('whoever is forgotten gets nothing, and the next in line is served', async () => {
  const { ask, pool, heldRequests, release } = await pooled({ connections: 1 });
  const busy = ask('/wait');
  await heldRequests(1);
  const [gone, next] = [ask(), ask()];
  pool.forget(gone);
  release();
  await Promise.all([busy.answered.promise, next.answered.promise]);
  assert.deepEqual([gone.connection, gone.refusal], [undefined, undefined]);
});

test('a dial that fails is said once to whoever counts, and to everybody who waited for it', async () => {
  const failures: string[] = [];
  const error = Promise.withResolvers<ClientConnection>();
  const { ask } = await pooled({ dial: () => error.promise, requestsPerConnection: 100, onDialFailed: (e) => failures.push(e.message) });
  const askers = [ask(), ask(), ask()];
  error.reject(new Error('nobody there'));
  await Promise.all(askers.map((asker) => assert.rejects(asker.answered.promise, /nobody there/)));
  assert.deepEqual(failures, ['nobody there']);
  assert.deepEqual(askers.map((asker) => asker.refusal?.kind), ['dial', 'dial', 'dial']);
});

test('a pool that drains lets requests end, refuses those who wait, and closes every connection', async () => {
  const { ask, pool, heldRequests, release } = await pooled({ connections: 1 });
  const busy = ask('/wait');
  await heldRequests(1);
  const waiting = ask();
  const empty = Promise.withResolvers<void>();
  pool.onEmpty = empty.resolve;
  pool.drain();
  assert.equal(waiting.refusal?.kind, 'gone');
  assert.equal(ask().refusal?.kind, 'gone');
  release();
  assert.equal(await busy.answered.promise, 'by 0');
  await empty.promise;
  assert.equal(pool.count, 0);
});

test('a connection dialled for a pool that is destroyed meanwhile is closed', async () => {
  const { ask, pool, app, sockets } = await pooled();
  const asker = ask();
  pool.destroy();
  await assert.rejects(asker.answered.promise, /being closed/);
  while (sockets.length < 1 || app.sockets.size > 0) await new Promise((resolve) => setImmediate(resolve));
});

test('a connection the application closed is not given to anyone', async () => {
  const { ask, app, pool } = await pooled();
  await ask().answered.promise;
  for (const socket of app.sockets) socket.destroy();
  while (pool.count > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await ask().answered.promise, 'by 1');
});

test('a connection nobody used for the idle time is closed, one in use is not', async () => {
  const clock = fakeClock();
  const { ask, pool, heldRequests, release, app } = await pooled({ clock, idleMs: 1_000 });
  const busy = ask('/wait');
  await heldRequests(1);
  await ask().answered.promise;
  assert.equal(pool.count, 2);
  await clock.advance(900);
  assert.equal(pool.count, 2);
  await clock.advance(700);
  while (app.sockets.size > 1) await new Promise((resolve) => setImmediate(resolve));
  release();
  assert.equal(await busy.answered.promise, 'by 0');
  await clock.advance(2_000);
  while (pool.count > 0) await new Promise((resolve) => setImmediate(resolve));
});
