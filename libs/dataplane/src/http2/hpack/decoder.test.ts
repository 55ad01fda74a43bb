import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { DECODED, HpackDecoder } from './decoder.ts';
import type { Field } from './field.ts';

const OPTIONS = { tableBytes: 4096, headerBytes: 65_536, headerCount: 200 };

function decode(decoder: HpackDecoder, hex: string): { readonly result: number; readonly list: string[] } {
  const list: string[] = [];
  const input = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const result = decoder.decode(input, 0, input.length, { field: (field: Field) => void list.push(field.name, field.value) });
  return { result, list };
}

type Story = { readonly cases: readonly { readonly wire: string; readonly headers: readonly Readonly<Record<string, string>>[] }[] };

const root = new URL('testdata/', import.meta.url);
for (const set of ['go-hpack', 'nghttp2', 'nghttp2-16384-4096', 'nghttp2-change-table-size']) {
  test(`reads what other encoders wrote: ${set}`, () => {
    for (const file of readdirSync(new URL(`${set}/`, root))) {
      const story = JSON.parse(readFileSync(new URL(`${set}/${file}`, root), 'utf8')) as Story;
      const decoder = new HpackDecoder({ ...OPTIONS, tableBytes: 16_384 });
      for (const [i, { wire, headers }] of story.cases.entries()) {
        const { result, list } = decode(decoder, wire);
        assert.equal(result, DECODED.ok, `${file} ${i}`);
        assert.deepEqual(list, headers.flatMap((h) => Object.entries(h).flat()), `${file} ${i}`);
      }
    }
  });
}

test("the RFC's requests with Huffman coding share one table (C.4)", () => {
  const decoder = new HpackDecoder(OPTIONS);
  const start = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
  assert.deepEqual(decode(decoder, '828684418cf1e3c2e5f23a6ba0ab90f4ff').list, start);
  assert.deepEqual(decode(decoder, '828684be5886a8eb10649cbf').list, [...start, 'cache-control', 'no-cache']);
  assert.equal(decoder.tableBytes, 110);
  assert.deepEqual(decode(decoder, '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf').list.slice(-2), ['custom-key', 'custom-value']);
  assert.equal(decoder.tableBytes, 164);
});

test("the RFC's responses make the oldest entries leave (C.6)", () => {
  const decoder = new HpackDecoder({ ...OPTIONS, tableBytes: 256 });
  decode(decoder, '3fe101');
  decode(decoder, '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3');
  assert.equal(decoder.tableBytes, 222);
  assert.deepEqual(decode(decoder, '4883640effc1c0bf').list.slice(0, 2), [':status', '307']);
  assert.equal(decoder.tableBytes, 222);
  const third = decode(decoder, '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007');
  assert.deepEqual(third.list.slice(-2), ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1']);
  assert.equal(decoder.tableBytes, 215);
});

for (const [name, hex] of [
  ['index 0', '80'],
  ['an index past both tables', 'be'],
  ['an index of no end', 'ffffffffffff'],
  ['an index of 2^32', 'ff80ffffff0f'],
  ['a name by an index past both tables', '7f00 01 61'],
  ['a literal without a value', '40 01 61'],
  ['a string longer than the block', '00 01 61 7f ff ff 03 61'],
  ['a length that is cut off', '00 01 61 ff'],
  ['a size update behind a field', '82 20'],
  ['a size update over what was told', '3f e2 1f'],
  ['Huffman code with EOS inside', '00 01 61 84 ff ff ff ff'],
] as const) {
  test(`ends the connection for ${name}`, () => assert.equal(decode(new HpackDecoder(OPTIONS), hex).result, DECODED.broken));
}

test('an index over 127 by hand: 0xff 0x00 is entry 127 and not two fields', () => {
  const decoder = new HpackDecoder(OPTIONS);
  for (let i = 0; i < 66; i++) assert.equal(decode(decoder, `40 01 61 01 ${(0x30 + (i % 10)).toString(16)}`).result, DECODED.ok);
  assert.deepEqual(decode(decoder, 'ff00'), { result: DECODED.ok, list: ['a', '0'] });
});

test('an entry as large as the table stays alone, a larger one empties it', () => {
  const decoder = new HpackDecoder({ ...OPTIONS, tableBytes: 40 });
  decode(decoder, '3f09');
  decode(decoder, '40 04 61616161 04 62626262');
  assert.equal(decoder.tableBytes, 40);
  decode(decoder, '40 04 61616161 05 6262626262');
  assert.equal(decoder.tableBytes, 0);
});

test('a bomb of few bytes gives out no more than the limit, and the table stays in step', () => {
  const decoder = new HpackDecoder({ ...OPTIONS, headerBytes: 20_000 });
  const value = Buffer.alloc(3000, 'x').toString('hex');
  assert.equal(decode(decoder, `40 01 61 7f b9 16 ${value}`).result, DECODED.ok);
  const bomb = decode(decoder, 'be'.repeat(10_000) + '40 01 62 01 63');
  assert.equal(bomb.result, DECODED.tooLarge);
  assert.ok(bomb.list.join('').length < 20_000);
  assert.deepEqual(decode(decoder, 'be'), { result: DECODED.ok, list: ['b', 'c'] });
});

test('no more fields than the limit, however small', () => {
  const decoder = new HpackDecoder({ ...OPTIONS, headerCount: 10 });
  const { result, list } = decode(decoder, '82'.repeat(11));
  assert.equal(result, DECODED.tooLarge);
  assert.equal(list.length, 20);
});

test('a string that decodes to more than the limit is not given out', () => {
  const decoder = new HpackDecoder({ ...OPTIONS, tableBytes: 64, headerBytes: 64 });
  const long = Buffer.alloc(62_000, 0x1c); // bits of short codes, so that more comes out than goes in
  const input = Buffer.concat([Buffer.from('000161', 'hex'), Buffer.from([0xff, 0xb1, 0xe3, 0x03]), long]);
  let fields = 0;
  const result = decoder.decode(input, 0, input.length, { field: () => void fields++ });
  assert.notEqual(result, DECODED.ok);
  assert.equal(fields, 0);
});
