import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import fc from 'fast-check';
import { DECODED, HpackDecoder } from './decoder.ts';
import { boundOf, HpackEncoder } from './encoder.ts';

const out = Buffer.alloc(1 << 20);

function encode(encoder: HpackEncoder, list: readonly string[]): Buffer {
  let position = encoder.begin(out, 0);
  for (let i = 0; i + 1 < list.length; i += 2) {
    const start = position;
    position = encoder.field(list[i]!, list[i + 1]!, out, position);
    assert.ok(position - start <= boundOf(list[i]!, list[i + 1]!), 'the bound holds');
  }
  return Buffer.from(out.subarray(0, position));
}

function decode(decoder: HpackDecoder, input: Buffer): string[] {
  const list: string[] = [];
  assert.equal(decoder.decode(input, 0, input.length, { field: (f) => void list.push(f.name, f.value) }), DECODED.ok);
  return list;
}

const open = (tableBytes = 4096): HpackDecoder => new HpackDecoder({ tableBytes, headerBytes: 1 << 20, headerCount: 10_000 });

test('what real traffic sent comes back, in no more than one and a half times the bytes nghttp2 took', () => {
  const root = new URL('testdata/nghttp2/', import.meta.url);
  let [ours, theirs] = [0, 0];
  for (const file of readdirSync(root)) {
    const { cases } = JSON.parse(readFileSync(new URL(file, root), 'utf8')) as { cases: { wire: string; headers: Record<string, string>[] }[] };
    const [encoder, decoder] = [new HpackEncoder(), open()];
    for (const { wire, headers } of cases) {
      const list = headers.flatMap((h) => Object.entries(h).flat());
      const block = encode(encoder, list);
      assert.deepEqual(decode(decoder, block), list);
      ours += block.length;
      theirs += wire.length / 2;
    }
  }
  assert.ok(ours <= theirs * 1.5, `${ours} bytes, nghttp2 ${theirs}`);
});

test('any fields come back, and both tables stay the same size', () => {
  const name = fc.stringMatching(/^[a-z][a-z-]{0,20}$/);
  const value = fc.stringMatching(/^[!-~]{0,60}$/);
  fc.assert(
    fc.property(fc.array(fc.array(fc.tuple(fc.oneof(name, fc.constantFrom(':path', 'user-agent', 'cookie', 'te')), value), { maxLength: 12 }), { maxLength: 12 }), fc.array(fc.nat(5000), { maxLength: 6 }), (blocks, sizes) => {
      const [encoder, decoder] = [new HpackEncoder(), open()];
      for (const [i, fields] of blocks.entries()) {
        const size = sizes[i];
        if (size !== undefined) encoder.resize(Math.min(size, 4096));
        const list = fields.flat();
        assert.deepEqual(decode(decoder, encode(encoder, list)), list);
        assert.equal(encoder.tableBytes, decoder.tableBytes);
      }
    }),
  );
});

test('the same request again is an octet a field', () => {
  const encoder = new HpackEncoder();
  const list = [':method', 'POST', ':scheme', 'http', ':path', '/pkg.Service/Call', ':authority', 'svc', 'content-type', 'application/grpc', 'te', 'trailers', 'user-agent', 'grpc-go'];
  encode(encoder, list);
  encode(encoder, list);
  assert.equal(encode(encoder, list).length, list.length / 2);
});

test('what changes each time does not push out what repeats', () => {
  const encoder = new HpackEncoder();
  encode(encoder, ['user-agent', 'x']);
  for (let i = 0; i < 500; i++) encode(encoder, [':path', `/items/${i}`, 'x-request-id', `id-${i}`]);
  assert.equal(encode(encoder, ['user-agent', 'x']).length, 1);
});

test('secrets are marked as never to be indexed, by name', () => {
  for (const name of ['authorization', 'cookie', 'set-cookie', 'proxy-authorization', 'x-api-key']) {
    const encoder = new HpackEncoder();
    for (let i = 0; i < 3; i++) assert.equal((encode(encoder, [name, 'secret'])[0] ?? 0) & 0xf0, 0x10, name);
    assert.equal(encoder.tableBytes, 0);
  }
});

test('nothing that could end a field in HTTP/1.1 is ever written, plain, coded or from the table', () => {
  for (const name of ['x', 'user-agent', 'cookie']) {
    const [encoder, decoder] = [new HpackEncoder(), open()];
    for (let i = 0; i < 3; i++) assert.deepEqual(decode(decoder, encode(encoder, [name, 'a\r\nb\u0000c\u010a'])), [name, 'a??b?c?']);
  }
});

test('a smaller table is told before the next block, also the smallest of several', () => {
  const [encoder, decoder] = [new HpackEncoder(), open()];
  decode(decoder, encode(encoder, ['user-agent', 'one', 'server', 'two']));
  encoder.resize(0);
  encoder.resize(1000);
  const block = encode(encoder, ['user-agent', 'one']);
  assert.deepEqual([...block.subarray(0, 4)], [0x20, 0x3f, 0xc9, 0x07]);
  assert.deepEqual(decode(decoder, block), ['user-agent', 'one']);
  assert.equal(encoder.tableBytes, decoder.tableBytes);
});

test('thousands of names leave a bounded memory of them', () => {
  const [encoder, decoder] = [new HpackEncoder(), open()];
  for (let i = 0; i < 2000; i++) {
    const list = [`x-${i}`, 'v', 'user-agent', 'same'];
    assert.deepEqual(decode(decoder, encode(encoder, list)), list);
    if (i > 0) assert.equal(encoder.tableBytes, decoder.tableBytes);
  }
});
