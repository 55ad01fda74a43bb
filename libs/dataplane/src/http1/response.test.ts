// What the client makes of responses that others read in different ways, and whether it uses their connection again.
import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { portableTransport } from '../transport/portable.ts';
import { openHttp1 } from './client.ts';
import { RESPONSE_CASES, type ResponseCase } from './response.corpus.ts';
import { requestOf, takeResponse } from './testing.ts';

let pieces: readonly Buffer[] = [];
let closes = false;
const origin = createServer((socket) => void serve(socket));
await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
after(() => origin.close());
const transport = portableTransport();

async function serve(socket: Socket): Promise<void> {
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('data', resolve));
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (closes) socket.end();
}

async function run(one: ResponseCase, how: readonly Buffer[]): Promise<void> {
  pieces = how;
  closes = one.closes === true;
  const { port } = origin.address() as { port: number };
  const stream = await transport.dial({ host: '127.0.0.1', port, timeoutMs: 5_000, allowHalfOpen: true });
  const connection = openHttp1(stream, { limits: HTTP_LIMITS, clock: systemClock });
  let isFree = false;
  const settled = new Promise<void>((resolve) => {
    connection.onFree = () => {
      isFree = true;
      resolve();
    };
    connection.onClose = resolve;
  });
  const sink = takeResponse();
  connection.request(requestOf({ method: one.method ?? 'GET' }), true, sink);
  await sink.over;
  await settled;
  assert.deepEqual(sink.informs, one.informs ?? []);
  assert.equal(sink.aborted?.reason, one.abort);
  if (one.abort === undefined) assert.equal(`${sink.status} ${sink.body}`, one.response);
  // In a single piece all is known at once; else a byte too many may come when the connection is already free.
  if (how.length === 1 || one.reusable === true) assert.equal(isFree && connection.free === 1, one.reusable === true, `free: ${isFree}`);
  connection.destroy();
}

for (const one of RESPONSE_CASES) {
  const what = one.abort === undefined ? `is taken as ${one.reusable === true ? 'whole' : 'the last of its connection'}` : one.abort === 'closed' ? 'is never taken for whole' : 'is refused';
  test(`${one.name} ${what}`, async () => {
    const bytes = Buffer.from(one.bytes, 'latin1');
    await run(one, [bytes]);
    await run(one, bytes.length > 1_000 ? [bytes.subarray(0, 100), bytes.subarray(100)] : Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
  });
}
