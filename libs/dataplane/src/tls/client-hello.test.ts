import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { ClientHelloReader, type HelloResult, MAX_HELLO_BYTES, readWholeHello } from './client-hello.ts';

/** The first bytes a real client sends. */
async function realHello(options: { readonly servername?: string; readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3'; readonly ALPNProtocols?: string[] }): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  client.on('error', () => undefined);
  const hello = await new Promise<Buffer>((resolve) => server.once('connection', (s) => s.once('data', resolve)));
  client.destroy();
  server.close();
  return hello;
}

const hasOpenssl = spawnSync('openssl', ['version']).error === undefined;

/** The first bytes `openssl s_client` sends. */
async function opensslHello(...args: readonly string[]): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${(server.address() as AddressInfo).port}`, ...args], { stdio: 'ignore' });
  const sent = await new Promise<Buffer>((resolve) => {
    server.once('connection', (s) => {
      s.on('error', () => undefined);
      s.once('data', (bytes: Buffer) => {
        resolve(bytes);
        s.destroy();
      });
    });
  });
  client.kill();
  server.close();
  return sent;
}

function read(...chunks: readonly Uint8Array[]): HelloResult {
  const reader = new ClientHelloReader();
  let result: HelloResult = { kind: 'need-more' };
  for (const chunk of chunks) result = reader.push(chunk);
  return result;
}

type Extension = readonly [type: number, data: Buffer];
const vector = (size: 1 | 2, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(size);
  length.writeUIntBE(body.length, 0, size);
  return Buffer.concat([length, body]);
};
const sni = (name: string | Buffer): Extension => [0, vector(2, Buffer.from([0]), vector(2, Buffer.from(name as string, 'latin1')))];

/** A hello made by hand: extensions as given, padded, cut into records of a size. */
function hello(extensions: readonly Extension[], options: { readonly recordBytes?: number } = {}): Buffer {
  const list = extensions.map(([type, data]) => Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, data)]));
  const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32, 7), vector(1, Buffer.alloc(32)), vector(2, Buffer.from([0x13, 1])), vector(1, Buffer.from([0])), vector(2, ...list)]);
  const length = Buffer.alloc(3);
  length.writeUIntBE(body.length, 0, 3);
  const message = Buffer.concat([Buffer.from([1]), length, body]);
  const records: Buffer[] = [];
  const size = options.recordBytes ?? 16_384;
  for (let at = 0; at < message.length; at += size) records.push(Buffer.concat([Buffer.from([22, 3, 1]), vector(2, message.subarray(at, at + size))]));
  return Buffer.concat(records);
}

const NAME = 'http.payments.shop.svc.east.acme.example';
const found = { kind: 'hello', serverName: NAME };

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`reads the name of a real ${maxVersion} hello`, async () => {
    const bytes = await realHello({ servername: NAME.toUpperCase(), maxVersion, ALPNProtocols: ['h2', 'http/1.1'] });
    assert.deepEqual(read(bytes), { kind: 'hello', serverName: NAME });
  });
}

test('reads the hello of openssl s_client, old and new', { skip: hasOpenssl ? false : 'openssl is not installed (apt-get install openssl)' }, async () => {
  for (const version of ['-tls1_2', '-tls1_3']) {
    assert.deepEqual(read(await opensslHello('-servername', NAME, '-alpn', 'h2', version)), { kind: 'hello', serverName: NAME }, version);
  }
  assert.deepEqual(read(await opensslHello('-noservername')), { kind: 'refused', reason: 'no-sni' });
});

test('every byte that was read is there to be passed on, in order', () => {
  const sent = Buffer.concat([hello([sni(NAME)], { recordBytes: 50 }), Buffer.from('early data')]);
  const reader = new ClientHelloReader();
  for (const byte of sent) reader.push(Buffer.from([byte]));
  assert.deepEqual(reader.bytes, sent);
});

test('a hello cut into records of 16 bytes is read; into records of one byte it is refused', () => {
  assert.deepEqual(read(hello([[21, Buffer.alloc(12_000)], sni(NAME)], { recordBytes: 16 })), found);
  assert.deepEqual(read(hello([[21, Buffer.alloc(12_000)], sni(NAME)], { recordBytes: 1 })), { kind: 'refused', reason: 'too-large' });
});

test('a hello split at any byte, or sent byte by byte, reads the same', async () => {
  const bytes = await realHello({ servername: NAME });
  for (let at = 1; at < bytes.length; at++) assert.equal(read(bytes.subarray(0, at), bytes.subarray(at)).kind, 'hello', `split at ${at}`);
  assert.equal(read(...[...bytes].map((byte) => Buffer.from([byte]))).kind, 'hello');
});

test('a hello of post-quantum size, over several records, with GREASE and the name last', () => {
  const grease: Extension = [0x1a1a, Buffer.from([0])];
  const keyShare: Extension = [51, Buffer.alloc(1_300, 9)];
  assert.deepEqual(read(hello([grease, keyShare, sni(NAME)], { recordBytes: 200 })), found);
  assert.deepEqual(read(hello([grease, [21, Buffer.alloc(12_000)], sni(NAME)])), found);
});

for (const [what, bytes, reason] of [
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'not-tls'],
  ['a PROXY header', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n'), 'not-tls'],
  ['an SSLv2 hello', Buffer.from([0x80, 0x2e, 1, 3, 1]), 'not-tls'],
  ['a record of no TLS version', Buffer.from([22, 9]), 'not-tls'],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0]), 'malformed'],
  ['a handshake message that is no hello', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), 'malformed'],
  ['more than 16 KiB', hello([[21, Buffer.alloc(MAX_HELLO_BYTES)], sni(NAME)]), 'too-large'],
  ['no name', hello([[16, vector(2, vector(1, Buffer.from('h2')))]]), 'no-sni'],
  ['two names in two extensions', hello([sni(NAME), sni(NAME)]), 'malformed'],
  ['an extension that stands twice', hello([[51, Buffer.alloc(2)], sni(NAME), [51, Buffer.alloc(2)]]), 'malformed'],
  ['an IPv6 address', hello([sni('::1')]), 'bad-sni'],
  ['a name of another type than host_name', hello([[0, vector(2, Buffer.from([1]), vector(2, Buffer.from(NAME)))]]), 'bad-sni'],
  ['two names in one extension', hello([[0, vector(2, Buffer.from([0]), vector(2, Buffer.from('a.b')), Buffer.from([0]), vector(2, Buffer.from('c.d')))]]), 'bad-sni'],
  ['an empty name', hello([sni('')]), 'bad-sni'],
  ['an address', hello([sni('10.0.0.1')]), 'bad-sni'],
  ['a trailing dot', hello([sni(`${NAME}.`)]), 'bad-sni'],
  ['a NUL in the name', hello([sni('a\0b.example')]), 'bad-sni'],
  ['a non-ASCII name', hello([sni('pä.example')]), 'bad-sni'],
  ['256 characters', hello([sni(`${'a'.repeat(63)}.`.repeat(4).slice(0, 256))]), 'bad-sni'],
] as const) {
  test(`refuses ${what}`, () => assert.deepEqual(read(bytes), { kind: 'refused', reason }));
}

test('a client that speaks no TLS is refused at its first byte', () => assert.equal(read(Buffer.from('G')).kind, 'refused'));

test('whatever the bytes and however they are cut, the answer is one of three and never an exception', async () => {
  const real = await realHello({ servername: NAME });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { maxLength: 8 }), fc.nat(real.length), (changes, cut) => {
      const bytes = Buffer.from(real);
      for (const [at, value] of changes) bytes[at] = value;
      const whole = read(bytes);
      const parts = read(bytes.subarray(0, cut), bytes.subarray(cut));
      assert.deepEqual(parts, whole);
      return ['need-more', 'refused', 'hello'].includes(whole.kind);
    }),
    { numRuns: 2_000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => ['need-more', 'refused', 'hello'].includes(read(Buffer.from([22, 3, 1]), bytes).kind)), { numRuns: 2_000 });
});

test('a hello that lies whole in one record is read at once, with the same result; anything else is left to the reader', async () => {
  const hello = await realHello({ servername: 'Payments.shop.example', ALPNProtocols: ['h2'] });
  assert.deepEqual(readWholeHello(hello), new ClientHelloReader().push(hello));
  assert.deepEqual(readWholeHello(Buffer.concat([hello, Buffer.from('more')])), new ClientHelloReader().push(hello));
  for (let size = 0; size < hello.length; size++) assert.equal(readWholeHello(hello.subarray(0, size)), undefined);
  assert.equal(readWholeHello(await realHello({})), undefined);
  assert.equal(readWholeHello(Buffer.from('GET / HTTP/1.1\r\n\r\n')), undefined);
  fc.assert(
    fc.property(fc.nat(hello.length - 1), fc.nat(255), (at, byte) => {
      const changed = Buffer.from(hello);
      changed[at] = byte;
      const whole = readWholeHello(changed);
      if (whole !== undefined) assert.deepEqual(whole, new ClientHelloReader().push(changed));
    }),
  );
});
