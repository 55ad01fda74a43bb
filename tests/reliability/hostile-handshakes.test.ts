// Row 68: handshakes that no client would make, at every TLS port there is; nobody else notices and nothing is left of them.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { LEDGER, names, outboundOf, PAYMENTS, portNames, request, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

const HANDSHAKES = 400;
/** Descriptors that come and go with pooled connections. */
const SLACK = 12;

const vector = (size: 1 | 2 | 3, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(size);
  length.writeUIntBE(body.length, 0, size);
  return Buffer.concat([length, body]);
};
const extension = (type: number, data: Buffer): Buffer => Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, data)]);

/** A hello that OpenSSL reads to its end, with these bytes for a name and for ALPN. */
function hello(name: Buffer, alpn: Buffer): Buffer {
  const extensions = [
    extension(0, vector(2, Buffer.from([0]), vector(2, name))),
    extension(16, vector(2, vector(1, alpn))),
    extension(43, vector(1, Buffer.from([3, 4]))),
    extension(10, vector(2, Buffer.from([0, 29]))),
    extension(13, vector(2, Buffer.from([4, 3, 8, 7]))),
    extension(51, vector(2, Buffer.from([0, 29]), vector(2, Buffer.alloc(32, 9)))),
  ];
  const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32, 7), vector(1, Buffer.alloc(32, 1)), vector(2, Buffer.from([0x13, 1, 0x13, 2])), vector(1, Buffer.from([0])), vector(2, ...extensions)]);
  return Buffer.concat([Buffer.from([22, 3, 1]), vector(2, Buffer.from([1]), vector(3, body))]);
}

/** Names and protocols that callbacks might choke on, and what a hello is followed by. */
function attempt(i: number): Buffer {
  const odd = [Buffer.from('http.payments.shop.svc.east.demo.isthmus.example'), Buffer.alloc(1, 0), Buffer.from('\u0000.east'), Buffer.alloc(255, 0xff), Buffer.from('__proto__'), Buffer.from('constructor'), Buffer.from('..'), Buffer.from('127.0.0.1'), Buffer.from('xn--\u00fc'), Buffer.alloc(300, 0x61)];
  const name = odd[i % odd.length] ?? Buffer.alloc(0);
  const first = hello(name, [Buffer.from('h2'), Buffer.from('__proto__'), Buffer.alloc(255, 0), Buffer.from('http/1.1')][i % 4] ?? Buffer.from('h2'));
  const then = [Buffer.alloc(0), Buffer.alloc(40, i), Buffer.from([22, 3, 3, 0, 4, 20, 0, 0, 0]), Buffer.from([21, 3, 3, 0, 2, 2, 40]), Buffer.from([23, 3, 3, 255, 255]), Buffer.from([20, 3, 3, 0, 1, 1])][i % 6] ?? Buffer.alloc(0);
  const whole = Buffer.concat([first, then]);
  // Now and then a byte is wrong somewhere.
  if (i % 3 === 0) whole[5 + ((i * 131) % (whole.length - 5))] = i & 255;
  return i % 7 === 0 ? whole.subarray(0, (i * 37) % whole.length) : whole;
}

/** Sends it, and leaves in one of three ways; resolves when it is over. */
function handshake(port: number, i: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.write(attempt(i));
      if (i % 3 === 1) socket.end();
      else if (i % 3 === 2) setImmediate(() => socket.resetAndDestroy());
    });
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.once('close', () => resolve());
    // Some are left open by design: whoever took them closes at its own limit, and we do not wait for it.
    setTimeout(() => socket.destroy(), 300);
  });
}

test('thousands of broken handshakes cost nobody else anything and leave no descriptor', { timeout: 180_000 }, async () => {
  const targets: readonly (readonly [process: string, port: number])[] = [
    ['east-1', mesh.federation.port(portNames.inbound('east-1', PAYMENTS))],
    [names.gateway('east'), mesh.federation.port(names.gateway('east'))],
    [names.controlPlane('east'), mesh.federation.port(names.controlPlane('east'))],
    [names.trustRoot, mesh.federation.port(names.trustRoot)],
  ];
  const pidOf = (name: string): number => mesh.supervisor.get(name).pid;
  const descriptors = (name: string): number => readdirSync(`/proc/${pidOf(name)}/fd`).length;
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', PAYMENTS))).ok, true);
  const before = targets.map(([name]) => ({ name, pid: pidOf(name), descriptors: descriptors(name) }));
  for (const [, port] of targets) {
    for (let i = 0; i < HANDSHAKES; i += 40) await Promise.all(Array.from({ length: 40 }, (_, j) => handshake(port, i + j)));
    for (const service of [PAYMENTS, LEDGER]) {
      const outcome = await request(outboundOf(mesh.federation, 'vm-1', service));
      assert.equal(outcome.ok, true, JSON.stringify(outcome));
    }
  }
  for (const { name, pid, descriptors: had } of before) {
    assert.equal(mesh.supervisor.get(name).isRunning(), true, `${name} lives`);
    assert.equal(pidOf(name), pid);
    await waitFor(`${name} to let go of them (had ${had} descriptors)`, 30_000, () => (descriptors(name) <= had + SLACK ? true : undefined));
  }
});
