// Queries for other zones reach the machine's nameservers as they came, and answers come back as they were.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { type AddressInfo, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { openForwarder } from './forward.ts';
import { startDns } from './server.ts';

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

/** A nameserver on two addresses of the loopback network: `answer` is asked for its bytes, and may give none. */
async function nameserver(host: string, port: number, answer: (query: Buffer) => readonly Buffer[]): Promise<number> {
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      for (const bytes of answer(chunk.subarray(2))) {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(bytes.length);
        socket.write(length);
        socket.write(bytes); // apart, as a network may deliver them
      }
    });
  }).listen(port, host);
  await once(tcp, 'listening');
  // UDP after TCP: of TCP's ports many are taken by connections.
  const { port: bound } = tcp.address() as AddressInfo;
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    for (const bytes of answer(query)) udp.send(bytes, from.port, from.address);
  });
  udp.bind(bound, host);
  await once(udp, 'listening');
  closers.push(() => udp.close(), () => tcp.close());
  return bound;
}

const query = (name: string, id = 7): Buffer => encode({ type: 'query', id, flags: 0x0100, questions: [{ type: 'A', name }] });
const answerTo = (bytes: Buffer): Buffer => encode({ ...decode(bytes), type: 'response', answers: [{ type: 'A', name: 'www.example', ttl: 60, data: '192.0.2.7' }] });

async function resolver(nameservers: readonly string[], port: number) {
  const forwarder = openForwarder({ nameservers, port, clock: systemClock });
  const dns = await startDns({ listen: { host: '127.0.0.1', port: 0 }, lookup: (name) => (name.startsWith('ledger.') ? '127.64.0.9' : undefined), forwarder, log: silentLog(), metrics: openMetrics() });
  closers.push(() => dns.close(), () => forwarder.close());
  return { port: dns.port, forwarder };
}

async function ask(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    socket.send(bytes, port, '127.0.0.1');
    const [answer] = (await once(socket, 'message', { signal: AbortSignal.timeout(30_000) })) as [Buffer];
    return answer;
  } finally {
    socket.close();
  }
}

async function askTcp(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  socket.write(Buffer.concat([length, bytes]));
  let got = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    got = Buffer.concat([got, chunk]);
    if (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0)) break;
  }
  return got.subarray(2);
}

test('mesh names are answered here, others by the nameserver, byte for byte, over UDP and TCP', async () => {
  const asked: Buffer[] = [];
  const port = await nameserver('127.0.0.1', 0, (bytes) => {
    asked.push(bytes);
    return [answerTo(bytes)];
  });
  const mesh = await resolver(['127.0.0.1'], port);
  const known = decode(await ask(mesh.port, query('ledger.shop.svc.clusterset.local')));
  assert.deepEqual(known.answers?.map((a) => 'data' in a && a.data), ['127.64.0.9']);
  assert.equal(((decode(await ask(mesh.port, query('nobody.shop.svc.clusterset.local'))).flags ?? 0) & 15), 3, 'a mesh name that is not known goes to nobody else');
  assert.equal(asked.length, 0);
  const question = query('WwW.example', 4_242);
  assert.deepEqual(await ask(mesh.port, question), answerTo(question));
  assert.deepEqual(asked[0], question);
  assert.deepEqual(await askTcp(mesh.port, question), answerTo(question));
  // An UPDATE (RFC 2136), which is no question: the nameserver knows what to do with it.
  const update = Buffer.from(question);
  update.writeUInt16BE(5 << 11, 2);
  await ask(mesh.port, update);
  assert.deepEqual(asked.at(-1), update);
});

test('a nameserver that is gone, and one that answers something else, are passed over; without any the caller is told', async () => {
  const port = await nameserver('127.0.0.2', 0, (bytes) => [Buffer.alloc(3), query('x', bytes.readUInt16BE(0)), answerTo(query('www.example', 9)), answerTo(bytes)]);
  const mesh = await resolver(['127.0.0.1', '127.0.0.2'], port);
  const question = query('www.example', 77);
  assert.deepEqual(await ask(mesh.port, question), answerTo(question), 'of four answers only the last is one');
  const alone = await resolver(['127.0.0.1'], port);
  const failed = await ask(alone.port, question);
  assert.equal(failed.readUInt16BE(0), 77);
  assert.equal((decode(failed).flags ?? 0) & 15, 2, 'SERVFAIL, at once');
});

test('no more than so many queries wait at a time, and closing ends them', async () => {
  let silent = 0;
  const port = await nameserver('127.0.0.3', 0, () => ((silent += 1), []));
  const { forwarder } = await resolver(['127.0.0.3'], port);
  const waiting = Array.from({ length: 512 }, (_, i) => forwarder.ask(query('www.example', i), 'udp'));
  assert.equal(await forwarder.ask(query('www.example', 600), 'udp'), undefined, 'refused without waiting');
  forwarder.close();
  assert.deepEqual([...new Set(await Promise.all(waiting))], [undefined]);
  assert.ok(silent <= 512);
});
