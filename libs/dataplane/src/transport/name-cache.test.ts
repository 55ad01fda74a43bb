import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { lookupByCache, NameCache } from './name-cache.ts';

const at = (address: string): readonly LookupAddress[] => [{ address, family: 4 }];

/** A name service that answers when told to, and a clock that is moved by hand. */
function rig() {
  const questions: PromiseWithResolvers<readonly LookupAddress[]>[] = [];
  const timers: (() => void)[] = [];
  const now = { ms: 0 };
  const clock = {
    ...systemClock,
    monotonicMs: () => now.ms,
    setTimer: (_delayMs: number, fn: () => void) => {
      timers.push(fn);
      return { cancel: () => void timers.splice(timers.indexOf(fn), 1) };
    },
  };
  const lookup = (): Promise<readonly LookupAddress[]> => {
    const question = Promise.withResolvers<readonly LookupAddress[]>();
    questions.push(question);
    return question.promise;
  };
  const patienceEnds = (): void => timers.splice(0).forEach((fn) => fn());
  return { cache: new NameCache({ clock, lookup }), questions, timers, now, patienceEnds };
}

test('many who ask for a name at once are one question, and a fresh answer is none', async () => {
  const { cache, questions } = rig();
  const asked = Promise.all([1, 2, 3].map(() => cache.addresses('db.example')));
  assert.equal(questions.length, 1);
  questions[0]?.resolve(at('192.0.2.1'));
  assert.deepEqual((await asked).map(([first]) => first?.address), ['192.0.2.1', '192.0.2.1', '192.0.2.1']);
  assert.deepEqual(await cache.addresses('db.example'), at('192.0.2.1'));
  assert.equal(questions.length, 1);
});

test('a name service that is gone or does not answer leaves the last good address in use; a new answer is taken when it comes (reliability 84)', async () => {
  const { cache, questions, now, timers, patienceEnds } = rig();
  const first = cache.addresses('db.example');
  questions[0]?.resolve(at('192.0.2.1'));
  await first;
  now.ms = 3_600_000;
  const whileGone = cache.addresses('db.example');
  questions[1]?.reject(new Error('SERVFAIL'));
  assert.deepEqual(await whileGone, at('192.0.2.1'));
  const whileSlow = cache.addresses('db.example');
  const another = cache.addresses('db.example');
  assert.equal(questions.length, 3, 'one question under way');
  patienceEnds();
  assert.deepEqual(await Promise.all([whileSlow, another]), [at('192.0.2.1'), at('192.0.2.1')]);
  const inTime = cache.addresses('db.example');
  questions[2]?.resolve(at('192.0.2.2'));
  assert.deepEqual(await inTime, at('192.0.2.2'));
  assert.equal(timers.length, 0);
});

test('a name that never had an answer fails with the reason, and is asked again by the next', async () => {
  const { cache, questions } = rig();
  const asked = cache.addresses('nobody.example');
  questions[0]?.reject(new Error('ENOTFOUND'));
  await assert.rejects(asked, /ENOTFOUND/);
  const empty = cache.addresses('nobody.example');
  questions[1]?.resolve([]);
  await assert.rejects(empty, /no address/);
});

test('names without end are not remembered without end', async () => {
  let asked = 0;
  const cache = new NameCache({ lookup: () => Promise.resolve(((asked += 1), at('192.0.2.1'))) });
  for (let i = 0; i < 1_100; i++) await cache.addresses(`n${i}.example`);
  await cache.addresses('n1099.example');
  assert.equal(asked, 1_100);
  await cache.addresses('n0.example');
  assert.equal(asked, 1_101);
});

test('a socket of Node’s own takes it', async () => {
  const server = createServer((socket) => socket.end()).listen(0, 'localhost');
  await once(server, 'listening');
  for (const autoSelectFamily of [true, false]) {
    const socket = connect({ host: 'localhost', port: (server.address() as AddressInfo).port, lookup: lookupByCache, autoSelectFamily });
    await once(socket, 'connect');
    socket.destroy();
  }
  server.close();
  const missing = connect({ host: 'no-such-name.invalid', port: 1, lookup: lookupByCache });
  const [error] = (await once(missing, 'error')) as [NodeJS.ErrnoException];
  assert.match(String(error.code), /ENOTFOUND|EAI_AGAIN/);
});
