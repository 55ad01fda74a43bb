// Fuzz target: no block of fields breaks the decoder, its bounds hold, and what it gave out comes back the same.
import { DECODED, HpackDecoder } from './decoder.ts';
import { boundOf, HpackEncoder } from './encoder.ts';
import type { Field } from './field.ts';
import { decodeHuffman, encodeHuffman, huffmanLength } from './huffman.ts';

const TABLE_BYTES = 512;
const HEADER_BYTES = 4096;
const HEADER_COUNT = 40;
const OPTIONS = { tableBytes: TABLE_BYTES, headerBytes: HEADER_BYTES, headerCount: HEADER_COUNT };
const output = Buffer.alloc(65_536);
const decoded = Buffer.alloc(65_536);

/** The input in blocks: an octet says how long the next one is, so that one table sees several. */
function blocksOf(input: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = 0; at < input.length; ) {
    const end = at + 1 + (input[at] as number);
    blocks.push(input.subarray(at + 1, end));
    at = end;
  }
  return blocks;
}

function check(isTrue: boolean, promise: string): void {
  if (!isTrue) throw new Error(`broken: ${promise}`);
}

function decodeAll(input: Buffer): { readonly lists: string[][]; readonly results: number[] } {
  const decoder = new HpackDecoder(OPTIONS);
  const lists: string[][] = [];
  const results: number[] = [];
  for (const block of blocksOf(input)) {
    const list: string[] = [];
    let bytes = 0;
    const result = decoder.decode(block, 0, block.length, {
      field: (field: Field) => {
        list.push(field.name, field.value);
        bytes += field.sizeBytes;
      },
    });
    check(bytes <= HEADER_BYTES && list.length <= HEADER_COUNT * 2, 'a block gives out no more than the limits');
    check(decoder.tableBytes >= 0 && decoder.tableBytes <= TABLE_BYTES, 'the table stays within its size');
    results.push(result);
    if (result === DECODED.broken) break;
    if (result === DECODED.ok) lists.push(list);
  }
  return { lists, results };
}

function encodeAll(lists: readonly (readonly string[])[]): void {
  const encoder = new HpackEncoder(TABLE_BYTES);
  const decoder = new HpackDecoder({ ...OPTIONS, headerBytes: HEADER_BYTES * 2 });
  encoder.resize(TABLE_BYTES);
  for (const list of lists) {
    let position = encoder.begin(output, 0);
    for (let i = 0; i + 1 < list.length; i += 2) {
      const start = position;
      position = encoder.field(list[i] as string, list[i + 1] as string, output, position);
      check(position - start <= boundOf(list[i] as string, list[i + 1] as string), 'a field takes no more than its bound');
    }
    const back: string[] = [];
    const result = decoder.decode(output, 0, position, { field: (field) => void back.push(field.name, field.value) });
    check(result === DECODED.ok, 'what we encode decodes');
    check(encoder.tableBytes === decoder.tableBytes, 'both tables are of one size');
    check(back.length === list.length && back.every((text, i) => text === replaced(list[i] as string)), 'what was decoded comes back');
  }
}

/** As the encoder writes what no field may hold. */
function replaced(text: string): string {
  return text.replaceAll('\0', '?').replaceAll('\n', '?').replaceAll('\r', '?');
}

function huffman(input: Buffer): void {
  const text = input.toString('latin1');
  const end = encodeHuffman(text, output, 0);
  check(end === huffmanLength(text), 'the length is known beforehand');
  check(decodeHuffman(output, 0, end, decoded) === input.length && decoded.compare(input, 0, input.length, 0, input.length) === 0, 'Huffman code comes back');
  check(decodeHuffman(input, 0, input.length, decoded) <= input.length * 2, 'no octet makes more than two');
}

const block = (hex: string): Buffer => {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
};

/** See tools/fuzz. */
export const target = {
  name: 'hpack',
  maxBytes: 4096,
  // RFC 7541 Appendix C: requests and responses with Huffman code, an eviction, a size update.
  seeds: [
    Buffer.concat([block('828684418cf1e3c2e5f23a6ba0ab90f4ff'), block('828684be5886a8eb10649cbf'), block('828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf')]),
    Buffer.concat([block('3fe101'), block('488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3'), block('4883640effc1c0bf')]),
    Buffer.concat([block('400a637573746f6d2d6b65790d637573746f6d2d686561646572'), block('040c2f73616d706c652f70617468'), block('100870617373776f726406736563726574'), block('20 3fe101 be')]),
  ],
  dictionary: [Buffer.from([0x3f, 0xe1, 0x01]), Buffer.from([0x20]), Buffer.from([0xff, 0x00]), Buffer.from([0x7f, 0x80, 0x01])],
  run(input: Buffer): void {
    const first = decodeAll(input);
    const second = decodeAll(Buffer.from(input));
    check(JSON.stringify(first) === JSON.stringify(second), 'the same input decodes to the same');
    encodeAll(first.lists);
    huffman(input);
  },
};
