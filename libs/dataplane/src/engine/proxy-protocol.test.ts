import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crc32c } from './crc32c.ts';
import { type IpPort, ipBytes } from './ip-address.ts';
import { MAX_PROXY_HEADER_BYTES, MAX_TLV_BYTES, readProxyHeader, writeProxyHeader } from './proxy-protocol.ts';

const at = (address: string, port: number): IpPort => ({ ip: ipBytes(address) ?? Buffer.alloc(0), port });
const V4 = writeProxyHeader(at('192.0.2.7', 51_000), at('198.51.100.1', 15_443));
const V6 = writeProxyHeader(at('2001:db8::7', 51_000), at('2001:db8::1', 15_443));

/** A header by its parts: version and command, family, and everything after the length. */
function header(versionAndCommand: number, family: number, rest: Buffer): Buffer {
  const fixed = Buffer.from('0d0a0d0a000d0a515549540a00000000', 'hex');
  fixed[12] = versionAndCommand;
  fixed[13] = family;
  fixed.writeUInt16BE(rest.length, 14);
  return Buffer.concat([fixed, rest]);
}

function tlv(type: number, value: Buffer): Buffer {
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}

const v4With = (...tlvs: Buffer[]): Buffer => header(0x21, 0x11, Buffer.concat([V4.subarray(16), ...tlvs]));

test('a TCP over IPv4 header has the bytes the specification gives it', () => {
  assert.equal(V4.toString('hex'), '0d0a0d0a000d0a515549540a2111000cc0000207c6336401c7383c53');
});

test('what is written is read again, for both families, with and without what follows', () => {
  for (const [bytes, source, destination] of [
    [V4, at('192.0.2.7', 51_000), at('198.51.100.1', 15_443)],
    [V6, at('2001:db8::7', 51_000), at('2001:db8::1', 15_443)],
  ] as const) {
    const expected = { kind: 'header', sizeBytes: bytes.length, addresses: { source, destination } };
    assert.deepEqual(readProxyHeader(bytes), expected);
    assert.deepEqual(readProxyHeader(Buffer.concat([bytes, Buffer.from([22, 3, 1])])), expected);
  }
});

test('an IPv4-mapped pair is written as IPv4, a mixed pair as IPv6', () => {
  assert.deepEqual(writeProxyHeader(at('::ffff:192.0.2.7', 51_000), at('198.51.100.1', 15_443)), V4);
  const mixed = readProxyHeader(writeProxyHeader(at('192.0.2.7', 1), at('2001:db8::1', 2)));
  assert.deepEqual(mixed, { kind: 'header', sizeBytes: 52, addresses: { source: at('::ffff:192.0.2.7', 1), destination: at('2001:db8::1', 2) } });
});

test('at every cut the answer is need-more, and the number it names is never too large', () => {
  for (const whole of [V4, V6, header(0x20, 0, Buffer.alloc(0)), v4With(tlv(1, Buffer.from('h2')))]) {
    for (let cut = 0; cut < whole.length; cut++) {
      const result = readProxyHeader(whole.subarray(0, cut));
      assert.equal(result.kind, 'need-more', `cut at ${cut}`);
      assert.ok(result.kind === 'need-more' && result.atLeastBytes > cut && result.atLeastBytes <= whole.length);
    }
  }
});

test('LOCAL and UNSPEC headers are taken without addresses', () => {
  assert.deepEqual(readProxyHeader(header(0x20, 0x00, Buffer.alloc(0))), { kind: 'header', sizeBytes: 16 });
  assert.deepEqual(readProxyHeader(header(0x20, 0x31, Buffer.alloc(216, 7))), { kind: 'header', sizeBytes: 232 }, 'what LOCAL holds is skipped');
  assert.deepEqual(readProxyHeader(header(0x21, 0x00, tlv(5, Buffer.from('id')))), { kind: 'header', sizeBytes: 21 });
});

test('TLVs are skipped up to their limit', () => {
  const most = v4With(tlv(0x04, Buffer.alloc(MAX_TLV_BYTES - 3)));
  assert.equal(readProxyHeader(most).kind, 'header');
  assert.ok(most.length <= MAX_PROXY_HEADER_BYTES);
  assert.equal(readProxyHeader(v4With(tlv(0x04, Buffer.alloc(MAX_TLV_BYTES - 2)))).kind, 'refused');
});

test('a checksum that holds is taken; one that does not, stands twice or has the wrong size is refused', () => {
  const withChecksum = v4With(tlv(0x03, Buffer.alloc(4)), tlv(0x05, Buffer.from('unique')));
  const sum = crc32c(withChecksum);
  const whole = Buffer.from(withChecksum);
  whole.writeUInt32BE(sum, 28 + 3);
  assert.equal(readProxyHeader(whole).kind, 'header');
  for (let i = 16; i < whole.length; i++) {
    const flipped = Buffer.from(whole);
    flipped[i] = (flipped[i] ?? 0) ^ 1;
    assert.equal(readProxyHeader(flipped).kind, i === 28 ? 'header' : 'refused', `byte ${i} flipped`);
  }
  assert.equal(readProxyHeader(v4With(tlv(0x03, Buffer.alloc(3)))).kind, 'refused');
  assert.equal(readProxyHeader(v4With(tlv(0x03, Buffer.alloc(4)), tlv(0x03, Buffer.alloc(4)))).kind, 'refused');
});

test('CRC-32C gives the published values', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
});

for (const [what, bytes] of [
  ['version 1', Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n')],
  ['another version', header(0x11, 0x11, V4.subarray(16))],
  ['an unknown command', header(0x22, 0x11, V4.subarray(16))],
  ['UDP', header(0x21, 0x12, V4.subarray(16))],
  ['a Unix socket', header(0x21, 0x31, Buffer.alloc(216))],
  ['too few bytes for its addresses', header(0x21, 0x11, V4.subarray(16, 27))],
  ['IPv6 with the length of IPv4', header(0x21, 0x21, V4.subarray(16))],
  ['a TLV that goes beyond the header', v4With(Buffer.from([4, 0, 9, 1]))],
  ['half a TLV header', v4With(Buffer.from([4, 0]))],
  ['a LOCAL header longer than any', header(0x20, 0, Buffer.alloc(MAX_PROXY_HEADER_BYTES))],
  ['a ClientHello', Buffer.from([22, 3, 1, 0, 200])],
] as const) {
  test(`${what} is refused`, () => assert.equal(readProxyHeader(bytes).kind, 'refused'));
}

test('it is refused at the first byte that cannot belong to a header', () => {
  for (let cut = 0; cut < 12; cut++) {
    const bytes = Buffer.from(V4.subarray(0, cut + 1));
    bytes[cut] = (bytes[cut] ?? 0) ^ 0x40;
    assert.equal(readProxyHeader(bytes).kind, 'refused');
  }
});

test('any bytes after a signature give an answer that stays the same with more bytes behind', () => {
  const address = fc.uint8Array({ minLength: 0, maxLength: 80 });
  fc.assert(
    fc.property(fc.constantFrom(0x20, 0x21), fc.constantFrom(0, 0x11, 0x21), address, fc.uint8Array({ maxLength: 40 }), (command, family, rest, more) => {
      const bytes = header(command, family, Buffer.from(rest));
      assert.deepEqual(readProxyHeader(Buffer.concat([bytes, more])), readProxyHeader(bytes));
    }),
  );
});
