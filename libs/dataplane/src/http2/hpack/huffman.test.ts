import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { decodeHuffman, encodeHuffman, huffmanLength } from './huffman.ts';

function encode(text: string): Buffer {
  const out = Buffer.alloc(huffmanLength(text));
  assert.equal(encodeHuffman(text, out, 0), out.length);
  return out;
}

function decode(input: Buffer, most = 4096): string | number {
  const out = Buffer.alloc(most);
  const written = decodeHuffman(input, 0, input.length, out);
  return written < 0 ? written : out.toString('latin1', 0, written);
}

// RFC 7541 Appendix C.4 and C.6.
for (const [text, hex] of [
  ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
  ['no-cache', 'a8eb10649cbf'],
  ['custom-key', '25a849e95ba97d7f'],
  ['custom-value', '25a849e95bb8e8b4bf'],
  ['302', '6402'],
  ['private', 'aec3771a4b'],
  ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07abe941054d444a8200595040b8166e082a62d1bff'],
  ['foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1', '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007'],
] as const) {
  test(`the RFC's own example goes both ways: ${text}`, () => {
    assert.equal(encode(text).toString('hex'), hex);
    assert.equal(decode(Buffer.from(hex, 'hex')), text);
  });
}

test('every string of octets comes back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      const text = Buffer.from(octets).toString('latin1');
      assert.equal(decode(encode(text)), text);
    }),
  );
});

test('each octet alone comes back, padded with the start of EOS', () => {
  for (let c = 0; c < 256; c++) assert.equal(decode(encode(String.fromCharCode(c))), String.fromCharCode(c));
});

for (const [name, hex] of [
  ['padding of more than seven bits', '1fff'],
  ['eight bits of padding and nothing else', 'ff'],
  ['padding of zeros', '18'],
  ['EOS inside', 'ffffffff'],
  ['a code cut in two', 'fffffe'],
] as const) {
  test(`refuses ${name}`, () => assert.equal(decode(Buffer.from(hex, 'hex')), -1));
}

test('says so when there is no room for what comes out', () => {
  assert.equal(decode(encode('a longer text'), 4), -2);
  assert.equal(decode(encode('abcd'), 4), 'abcd');
});
