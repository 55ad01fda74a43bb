// What the server makes of requests that others read in different ways.
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { after, test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { SMUGGLING_CASES, type SmugglingCase } from './smuggling.corpus.ts';
import { judge, type Verdict } from './testing.ts';

const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: s.example\r\nConnection: close\r\n\r\n';

let accepted: (socket: Socket) => void = () => undefined;
const server = createServer({ allowHalfOpen: true }, (socket) => accepted(socket));
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
after(() => server.close());

function bytesOf(one: SmugglingCase): Buffer {
  const more = one.refused === undefined && one.incomplete !== true ? SENTINEL : '';
  return Buffer.from(one.bytes + more, 'latin1');
}

function check(one: SmugglingCase, verdict: Verdict): void {
  const good = one.refused === undefined && one.incomplete !== true;
  assert.deepEqual(verdict.requests, good ? [...one.requests, 'GET /sentinel '] : one.requests);
  assert.equal(verdict.refused.length, one.refused === undefined ? 0 : 1, `refused for ${verdict.refused.join()}`);
  const statuses = verdict.requests.map(() => 204);
  assert.deepEqual(verdict.statuses, one.refused === undefined ? statuses : [...statuses, one.refused]);
}

async function overSocket(one: SmugglingCase, pieces: readonly Buffer[]): Promise<Verdict> {
  const taken = new Promise<Socket>((resolve) => (accepted = resolve));
  const { port } = server.address() as { port: number };
  const caller = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  return judge(await taken, caller, pieces, one.incomplete === true, HTTP_LIMITS);
}

function inMemory(one: SmugglingCase, pieces: readonly Buffer[]): Promise<Verdict> {
  const [stream, caller] = duplexPair();
  return judge(Object.assign(stream, { bytesRead: 0, bytesWritten: 0 }) as unknown as ByteStream, caller, pieces, one.incomplete === true, HTTP_LIMITS);
}

/** Cuts at places that follow from `seed` alone. */
function cut(bytes: Buffer, seed: number): Buffer[] {
  const out: Buffer[] = [];
  let state = seed;
  for (let at = 0; at < bytes.length;) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const size = 1 + ((state >>> 16) % Math.max(8, bytes.length >> 3));
    out.push(bytes.subarray(at, at + size));
    at += size;
  }
  return out;
}

test('there are more than 150 cases, each with a name of its own', () => {
  assert.ok(SMUGGLING_CASES.length > 150);
  assert.equal(new Set(SMUGGLING_CASES.map((one) => one.name)).size, SMUGGLING_CASES.length);
});

for (const one of SMUGGLING_CASES) {
  const what = one.refused === undefined ? (one.incomplete === true ? 'is never taken for whole' : 'is accepted') : `is refused with ${one.refused}`;
  test(`${one.name} ${what}, however it is split`, async () => {
    const bytes = bytesOf(one);
    check(one, await overSocket(one, [bytes]));
    check(one, await overSocket(one, cut(bytes, bytes.length)));
    for (const seed of [1, 2, 3]) check(one, await inMemory(one, cut(bytes, seed)));
    const octets = bytes.length > 4_096 ? cut(bytes, 7) : Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    check(one, await inMemory(one, octets));
  });
}
