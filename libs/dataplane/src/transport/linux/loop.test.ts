// What the loop owes to Node's own: nobody's promise waits for the next event of a socket.
import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { MessageChannel, Worker } from 'node:worker_threads';
import { Loop } from './loop.ts';
import { linuxTransport } from './transport.ts';

const isLinux = process.platform === 'linux';
const errors: unknown[] = [];
after(() => assert.deepEqual(errors, []));

test('what a turn leaves to promises and ticks runs before the loop waits again, however many turns it may take in a row', { skip: isLinux ? false : 'the loop is for Linux', timeout: 60_000 }, async () => {
  const loop = new Loop((error) => errors.push(error), { turnsInARow: 8 });
  const server = createServer((socket) => socket.on('data', (chunk) => socket.write(chunk)).on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stream = await linuxTransport(loop).dial({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, timeoutMs: 10_000, allowHalfOpen: false });
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    stream.on('data', () => {
      loop.setTimer(200, () => resolve(void order.push('timer')));
      queueMicrotask(() => order.push('promise'));
      process.nextTick(() => order.push('tick'));
    });
    stream.write('question', 'latin1');
  });
  stream.destroy();
  server.close();
  loop.close();
  assert.deepEqual(order, ['tick', 'promise', 'timer']);
});

/** Another thread echoes, a little later each time: there are always events to come, and never one at once. */
const ECHO_LATER = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer((socket) => socket.on('data', (chunk) => setTimeout(() => socket.write(chunk), 3)).on('error', () => undefined));
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;
const ECHOES = 60;

test('a loop that sleeps between events leaves out the one of Node, until a message wakes it', { skip: isLinux ? false : 'the loop is for Linux', timeout: 60_000 }, async () => {
  const echo = new Worker(ECHO_LATER, { eval: true });
  const [port] = (await once(echo, 'message')) as [number];
  const alone = new Loop((error) => errors.push(error), { turnsInARow: 1_000, sleepsBetween: true });
  const { port1, port2 } = new MessageChannel();
  try {
    const stream = await alone.hold(linuxTransport(alone).dial({ host: '127.0.0.1', port, timeoutMs: 10_000, allowHalfOpen: false }));
    let echoes = 0;
    let nodesTurns = 0;
    let heardAfter = 0;
    const countTurn = (): void => {
      nodesTurns += 1;
      if (echoes < ECHOES) setImmediate(countTurn);
    };
    port2.on('message', () => (heardAfter = echoes));
    const turnsBefore = await new Promise<number>((resolve) => {
      let turnsUntilPosted = 0;
      stream.on('data', () => {
        echoes += 1;
        if (echoes === 1) setImmediate(countTurn);
        if (echoes === ECHOES / 2) {
          turnsUntilPosted = nodesTurns;
          port1.postMessage('from elsewhere');
          alone.wake();
        }
        if (echoes < ECHOES) stream.write('again', 'latin1');
        else {
          resolve(turnsUntilPosted);
          alone.wake(); // what waits for the promise is on Node's own loop
        }
      });
      stream.write('first', 'latin1');
    });
    stream.destroy();
    // Without sleeping there would be one after every echo. An echo that takes longer than the longest wait gives one, too.
    assert.ok(turnsBefore < ECHOES / 4, `Node's own loop had ${turnsBefore} turns in ${ECHOES / 2} echoes`);
    assert.ok(heardAfter >= ECHOES / 2 && heardAfter < ECHOES / 2 + 5, `the message was heard after ${heardAfter} echoes, sent after ${ECHOES / 2}`);
  } finally {
    port1.close();
    alone.close();
    alone.wake();
    await echo.terminate();
  }
});
