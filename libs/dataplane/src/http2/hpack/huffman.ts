// HPACK's Huffman code both ways: decoding by a table of half-bytes, encoding by shifting.

/**
 * Length in bits of each octet's code. RFC 7541 Appendix B; the code is canonical, so that lengths are all one needs. EOS
 * (256) has 30 bits, all ones.
 */
// prettier-ignore
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const EOS = 256;

const CODES = new Uint32Array(257);
const BITS = Uint8Array.from(LENGTHS);

// One row of 16 per inner node of the code's tree: the node half a byte later, and what was completed on the way.
const NODES = 257;
const NEXT = new Uint16Array(NODES * 16);
/** The octet completed on this step plus one; 0 for none. A code has at least 5 bits, so that half a byte completes one at most. */
const DONE = new Uint16Array(NODES * 16);
const FAILED = 0xffff;
/** Whether the string may end at this node: on the way there only ones, at most seven. RFC 7541 §5.2. */
const MAY_END = new Uint8Array(NODES);

build();

function build(): void {
  const order = LENGTHS.map((_, symbol) => symbol).sort((a, b) => (LENGTHS[a] ?? 0) - (LENGTHS[b] ?? 0) || a - b);
  let code = 0;
  let bits = LENGTHS[order[0] ?? 0] ?? 0;
  const tree: number[][] = [[-1, -1]];
  for (const symbol of order) {
    const length = LENGTHS[symbol] ?? 0;
    code *= 2 ** (length - bits);
    bits = length;
    CODES[symbol] = code;
    insert(tree, code, length, symbol);
    code++;
  }
  for (let node = 0, depth = 0; depth < 8; depth++) {
    MAY_END[node] = 1;
    node = tree[node]?.[1] ?? 0;
  }
  for (let node = 0; node < tree.length; node++) for (let half = 0; half < 16; half++) step(tree, node, half);
}

/** A leaf is kept as -2 - symbol, what is not there yet as -1. */
function insert(tree: number[][], code: number, length: number, symbol: number): void {
  let node = 0;
  for (let bit = length - 1; bit > 0; bit--) {
    const side = Math.floor(code / 2 ** bit) % 2;
    const row = tree[node] ?? [];
    if (row[side] === -1) {
      row[side] = tree.length;
      tree.push([-1, -1]);
    }
    node = row[side] ?? 0;
  }
  (tree[node] ?? [])[code % 2] = -2 - symbol;
}

function step(tree: readonly number[][], from: number, half: number): void {
  const at = from * 16 + half;
  let node = from;
  for (let bit = 3; bit >= 0; bit--) {
    const next = tree[node]?.[(half >> bit) & 1] ?? -1;
    if (next >= 0) node = next;
    else if (next === -2 - EOS) {
      NEXT[at] = FAILED;
      return;
    } else {
      DONE[at] = -2 - next + 1;
      node = 0;
    }
  }
  NEXT[at] = node;
}

/**
 * Decodes `input[start, end)` into `output` from 0. Returns the bytes written; -1: not valid (EOS inside, wrong padding), -2:
 * more than `output` holds. RFC 7541 §5.2.
 */
export function decodeHuffman(input: Uint8Array, start: number, end: number, output: Uint8Array): number {
  const limit = output.length;
  let node = 0;
  let written = 0;
  for (let i = start; i < end; i++) {
    const byte = input[i] as number;
    let at = node * 16 + (byte >> 4);
    let done = DONE[at] as number;
    if (done !== 0) {
      if (written === limit) return -2;
      output[written++] = done - 1;
    }
    node = NEXT[at] as number;
    if (node === FAILED) return -1;
    at = node * 16 + (byte & 15);
    done = DONE[at] as number;
    if (done !== 0) {
      if (written === limit) return -2;
      output[written++] = done - 1;
    }
    node = NEXT[at] as number;
    if (node === FAILED) return -1;
  }
  return MAY_END[node] === 1 ? written : -1;
}

/** Bytes that the Huffman form of a Latin-1 string takes. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += BITS[text.charCodeAt(i) & 0xff] as number;
  return (bits + 7) >> 3;
}

/** Writes the Huffman form of a Latin-1 string at `position` and returns where it ends; `output` has room for `huffmanLength`. */
export function encodeHuffman(text: string, output: Uint8Array, position: number): number {
  // At most 7 bits wait when a code of up to 30 comes: 37 bits do not fit one word of 32, so that long codes go in two parts.
  let waiting = 0;
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    let bits = BITS[symbol] as number;
    let code = CODES[symbol] as number;
    if (bits > 16) {
      const high = bits - 16;
      waiting = (waiting << high) | (code >>> 16);
      count += high;
      while (count >= 8) {
        count -= 8;
        output[position++] = (waiting >>> count) & 0xff;
      }
      waiting &= (1 << count) - 1;
      code &= 0xffff;
      bits = 16;
    }
    waiting = (waiting << bits) | code;
    count += bits;
    while (count >= 8) {
      count -= 8;
      output[position++] = (waiting >>> count) & 0xff;
    }
    waiting &= (1 << count) - 1;
  }
  if (count > 0) output[position++] = ((waiting << (8 - count)) | (0xff >> count)) & 0xff;
  return position;
}
