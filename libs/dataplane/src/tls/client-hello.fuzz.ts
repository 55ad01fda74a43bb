// Fuzz target: a ClientHello gets the same verdict however it is cut into pieces, by the short way where it lies whole, and never an exception.
import { ClientHelloReader, type HelloResult, MAX_HELLO_BYTES, readWholeHello } from './client-hello.ts';

const vector = (size: 1 | 2 | 3, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(size);
  length.writeUIntBE(body.length, 0, size);
  return Buffer.concat([length, body]);
};
const extension = (type: number, data: Buffer): Buffer => Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, data)]);
const serverName = (name: string): Buffer => extension(0, vector(2, Buffer.from([0]), vector(2, Buffer.from(name))));
const alpn = (...names: readonly string[]): Buffer => extension(16, vector(2, ...names.map((n) => vector(1, Buffer.from(n)))));

function hello(extensions: readonly Buffer[], recordBytes = MAX_HELLO_BYTES): Buffer {
  const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32, 7), vector(1, Buffer.alloc(32, 1)), vector(2, Buffer.from([0x1a, 0x1a, 0x13, 1, 0x13, 2])), vector(1, Buffer.from([0])), vector(2, ...extensions)]);
  const message = Buffer.concat([Buffer.from([1]), vector(3, body)]);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += recordBytes) records.push(Buffer.from([22, 3, 1]), vector(2, message.subarray(at, at + recordBytes)));
  return Buffer.concat(records);
}

const NAME = 'http.payments.shop.svc.east.acme.example';

function read(input: Buffer, pieceBytes: number): HelloResult {
  const reader = new ClientHelloReader();
  let result: HelloResult = { kind: 'need-more' };
  let at = 0;
  while (at < input.length && result.kind === 'need-more') {
    result = reader.push(input.subarray(at, at + pieceBytes));
    at += pieceBytes;
  }
  const pushed = Math.min(at, input.length);
  if (!reader.bytes.equals(input.subarray(0, pushed))) throw new Error(`of ${pushed} bytes pushed, ${reader.bytes.length} are passed on, or others`);
  return result;
}

/** Whole, byte by byte, and in pieces of a size that the input itself chooses. */
export const target = {
  name: 'client-hello',
  seeds: [
    hello([serverName(NAME)]),
    hello([extension(0x2a2a, Buffer.alloc(0)), alpn('h2', 'http/1.1'), serverName(NAME), extension(21, Buffer.alloc(40))]),
    hello([serverName(NAME), extension(51, vector(2, Buffer.from([0x11, 0xec]), vector(2, Buffer.alloc(1_216, 9))))], 100),
    hello([serverName(NAME), serverName('b.example')]),
    hello([]),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.concat([hello([serverName(NAME)]), Buffer.from([20, 3, 3, 0, 1, 1])]),
  ],
  dictionary: [Buffer.from([22, 3, 1]), Buffer.from([22, 3, 3]), Buffer.from([0, 0, 0, 16]), Buffer.from([0, 16]), Buffer.from([1, 0, 64, 0]), 'xn--', '127.0.0.1', '..', NAME],
  run(input: Buffer): void {
    const whole = read(input, Math.max(1, input.length));
    if (whole.kind === 'hello' && (whole.serverName.length > 255 || whole.serverName !== whole.serverName.toLowerCase() || !/^[a-z0-9_.-]+$/.test(whole.serverName))) {
      throw new Error(`the name is ${JSON.stringify(whole.serverName)}`);
    }
    const atOnce = readWholeHello(input);
    if (atOnce !== undefined && JSON.stringify(atOnce) !== JSON.stringify(whole)) throw new Error(`read at once: ${JSON.stringify(atOnce)}; by the reader: ${JSON.stringify(whole)}`);
    for (const pieceBytes of [1, 2 + ((input[0] ?? 0) ^ (input.at(-1) ?? 0))]) {
      const cut = read(input, pieceBytes);
      if (JSON.stringify(cut) !== JSON.stringify(whole)) throw new Error(`whole: ${JSON.stringify(whole)}; in pieces of ${pieceBytes}: ${JSON.stringify(cut)}`);
    }
  },
};
