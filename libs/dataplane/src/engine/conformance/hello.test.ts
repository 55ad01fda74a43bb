import assert from 'node:assert/strict';
import { HELLO, NAME, onEachEngine, type Peer, type Rig, UNEXPORTED, withRig } from './rig.ts';
import { type HelloParts, helloBytes } from './hello-bytes.ts';

const refusedLine = (reason: string, count = 1): string => `isthmus_gateway_refused_total{reason="${reason}"} ${count}`;
/** RFC 8446 §6.2: fatal unrecognized_name. */
const ALERT = '15030300020270';

async function arrivesWhole(rig: Rig, client: Peer, bytes: Buffer, n = 0): Promise<void> {
  const server = await rig.backend.peer(n);
  assert.deepEqual(await server.hasReceived(bytes.length), bytes);
  await server.write('answer');
  assert.equal((await client.hasReceived(6)).toString(), 'answer');
}

onEachEngine('a hello sent byte by byte arrives byte for byte', (engine) =>
  withRig(engine, {}, async (rig) => {
    const client = await rig.connect();
    for (const byte of HELLO) await client.write(Buffer.from([byte]));
    await arrivesWhole(rig, client, HELLO);
  }));

onEachEngine('a hello cut in two at each of its bytes arrives whole', (engine) =>
  withRig(engine, {}, async (rig) => {
    for (let cut = 1; cut < HELLO.length; cut++) {
      const client = await rig.connect();
      await client.write(HELLO.subarray(0, cut));
      await client.write(HELLO.subarray(cut));
      const server = await rig.backend.peer(cut - 1);
      assert.deepEqual(await server.hasReceived(HELLO.length), HELLO, `cut at ${cut}`);
      client.socket.destroy();
      server.socket.destroy();
    }
  }));

const VARIANTS: readonly (readonly [string, HelloParts])[] = [
  ['of TLS 1.2', { isTls13: false }],
  ['of TLS 1.2 with GREASE', { isTls13: false, hasGrease: true }],
  ['of TLS 1.3', {}],
  ['of TLS 1.3 with GREASE', { hasGrease: true }],
  ['with several key shares', { keyShareBytes: [32, 65, 97] }],
  ['with a key share of ML-KEM’s 1,216 bytes', { keyShareBytes: [1_216, 32] }],
  ['with its server name last', { isSniLast: true, keyShareBytes: [1_216] }],
  ['padded to 517 bytes', { padTo: 512 }],
  ['padded to 16 KiB', { padTo: 16_384 }],
  ['padded to 16 KiB with its server name last', { padTo: 16_384, isSniLast: true }],
  ['in records of one byte', { recordBytes: 1 }],
  ['in records of seven bytes', { recordBytes: 7 }],
  ['of ML-KEM in records of 100 bytes', { recordBytes: 100, keyShareBytes: [1_216] }],
];
for (const [what, parts] of VARIANTS) {
  onEachEngine(`a hello ${what} is led, with what follows it at once, and in segments`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const bytes = Buffer.concat([helloBytes({ names: [NAME], ...parts }), Buffer.from('and early data')]);
      const client = await rig.connect();
      await client.write(bytes);
      await arrivesWhole(rig, client, bytes);
      const again = await rig.connect();
      for (let at = 0; at < bytes.length; at += 1_021) await again.write(bytes.subarray(at, at + 1_021));
      await arrivesWhole(rig, again, bytes, 1);
    }));
}

const LONG_LABEL = 'a'.repeat(50);
const REFUSED_NAMES: readonly (readonly [string, HelloParts, string])[] = [
  ['without a server name', {}, 'no-sni'],
  ['with two names', { names: [NAME, NAME] }, 'bad-sni'],
  ['with a name in UTF-8', { names: ['http.pâyments.shop.svc.east.acme.example'] }, 'bad-sni'],
  ['with an IPv4 literal', { names: ['127.0.0.1'] }, 'bad-sni'],
  ['with an IPv6 literal', { names: ['::1'] }, 'bad-sni'],
  ['with a name of 256 bytes', { names: [`${`${LONG_LABEL}.`.repeat(5)}a`] }, 'bad-sni'],
  ['with an empty name', { names: [''] }, 'bad-sni'],
  ['with a NUL in its name', { names: [`${NAME}\0.evil.example`] }, 'bad-sni'],
  ['with a dot at the end of its name', { names: [`${NAME}.`] }, 'bad-sni'],
  ['for a service that is not exported', { names: [UNEXPORTED] }, 'not-exported'],
  ['for another trust domain', { names: ['http.payments.shop.svc.west.acme.example'] }, 'not-ours'],
  ['for a name nobody has', { names: ['http.other.shop.svc.east.acme.example'] }, 'unknown-name'],
  ['for a reserved name without an address', { names: ['store.isthmus.east.acme.example'] }, 'unknown-name'],
];
for (const [what, parts, reason] of REFUSED_NAMES) {
  onEachEngine(`a hello ${what} gets unrecognized_name, is counted as ${reason}, and nothing is dialled`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const client = await rig.connect();
      await client.write(helloBytes(parts));
      assert.equal((await client.hasReceived(7)).toString('hex'), ALERT);
      client.socket.end();
      await client.closed();
      await rig.closesWith(refusedLine(reason));
      assert.equal(rig.backend.peers.length, 0);
    }));
}

onEachEngine('a name in upper case leads where it does in lower case', (engine) =>
  withRig(engine, {}, async (rig) => {
    const bytes = helloBytes({ names: [NAME.toUpperCase()] });
    const client = await rig.connect();
    await client.write(bytes);
    await arrivesWhole(rig, client, bytes);
  }));

const oversized = helloBytes({ names: [NAME], padTo: 16_385 });
const REFUSED_BYTES: readonly (readonly [string, Buffer, string])[] = [
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'not-tls'],
  ['one zero byte', Buffer.from([0]), 'not-tls'],
  ['SSL 2', Buffer.from([0x80, 0x2e, 1, 3, 1]), 'not-tls'],
  ['a PROXY header from a peer that may send none', Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex'), 'not-tls'],
  ['a ServerHello', Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0]), 'malformed'],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0]), 'malformed'],
  ['a hello of 16 KiB and a byte', oversized, 'too-large'],
  ['a server name extension twice', helloBytes({ names: [NAME], sniTimes: 2 }), 'malformed'],
];
for (const [what, bytes, reason] of REFUSED_BYTES) {
  onEachEngine(`${what} is closed at once and counted as ${reason}`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const client = await rig.connect();
      await client.write(bytes);
      await client.isLetGo();
      assert.equal(client.receivedBytes, 0);
      await rig.closesWith(refusedLine(reason));
      assert.equal(rig.backend.peers.length, 0);
    }));
}

for (const [what, bytes, reason] of [
  ['nothing', Buffer.alloc(0), 'no-hello'],
  ['half a hello', HELLO.subarray(0, 100), 'malformed'],
] as const) {
  onEachEngine(`a client that ends after ${what} is counted as ${reason}`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const client = await rig.connect();
      if (bytes.length > 0) await client.write(bytes);
      client.socket.end();
      await client.isLetGo();
      await rig.closesWith(refusedLine(reason));
    }));
}

onEachEngine('slow hellos are closed at their limit, however many, while others are served', (engine) =>
  withRig(engine, { over: { limits: { helloMs: 300 } } }, async (rig) => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => rig.connect()));
    for (const client of slow) await client.write(HELLO.subarray(0, 60));
    const { client, server } = await rig.open();
    await server.write('served');
    await client.hasReceived(6);
    await Promise.all(slow.map((one) => one.isLetGo()));
    await rig.closesWith(refusedLine('hello-timeout', 50));
  }));
