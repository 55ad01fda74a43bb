// HPACK decoding straight from the input, with a table whose entries are checked once, when they come in.
import { Field, kindOf } from './field.ts';
import { decodeHuffman } from './huffman.ts';
import { STATIC_COUNT, STATIC_FIELDS } from './static-table.ts';

/** Takes the fields of one block in order. */
export interface FieldSink {
  field(field: Field): void;
}

/** What `decode` answers. */
export const DECODED = {
  ok: 0,
  /** More fields or bytes than the limit; the table is in step all the same, so the connection may go on. */
  tooLarge: 1,
  /** COMPRESSION_ERROR: the connection is lost. RFC 9113 §4.3. */
  broken: 2,
} as const;

/** What one decoder may take. */
export type DecoderOptions = {
  /** What SETTINGS_HEADER_TABLE_SIZE told the peer. */
  readonly tableBytes: number;
  /** Names and values of one block together, each field counted with 32 more. */
  readonly headerBytes: number;
  readonly headerCount: number;
};

const STATIC: readonly Field[] = STATIC_FIELDS.map(([name, value]) => new Field(name, value, kindOf(name)));
const EMPTY = STATIC[0] as Field;

// Strings that come Huffman-coded are decoded here, one at a time.
let scratch = Buffer.allocUnsafeSlow(4096);

/**
 * One direction's decoder. Never throws. **Bounds** the table by `tableBytes`, what one block gives out by `headerBytes` and
 * `headerCount`; time is linear in the input. **Source** RFC 7541.
 */
export class HpackDecoder {
  readonly #options: DecoderOptions;
  #maxBytes: number;
  #tableBytes = 0;
  #ring: Field[] = [];
  /** Of the newest entry in `#ring`. */
  #newest = -1;
  #count = 0;
  #position = 0;
  /** A string was longer than anything that is let through. */
  #isLong = false;

  constructor(options: DecoderOptions) {
    this.#options = options;
    this.#maxBytes = options.tableBytes;
    // Two strings' worth would do no better: what is over one limit is let go anyway.
    const needBytes = Math.max(options.headerBytes, options.tableBytes);
    if (scratch.length < needBytes) scratch = Buffer.allocUnsafeSlow(needBytes);
  }

  /** Bytes the dynamic table counts now. RFC 7541 §4.1. */
  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** Decodes the whole block `input[start, end)`. Returns one of `DECODED`. */
  decode(input: Buffer, start: number, end: number, sink: FieldSink): number {
    const { headerBytes, headerCount } = this.#options;
    this.#position = start;
    let restBytes = headerBytes;
    let restCount = headerCount;
    let isStart = true;
    while (this.#position < end) {
      const byte = input[this.#position] as number;
      let field: Field | undefined;
      if (byte >= 0x80) {
        field = this.#at(this.#integer(input, end, 0x7f));
      } else if (byte >= 0x40) {
        field = this.#literal(input, end, 0x3f);
        if (field !== undefined) this.#insert(field);
      } else if (byte >= 0x20) {
        // A size update, only before the first field. RFC 7541 §4.2.
        const bytes = this.#integer(input, end, 0x1f);
        if (!isStart || bytes < 0 || bytes > this.#options.tableBytes) return DECODED.broken;
        this.#maxBytes = bytes;
        this.#evict(bytes);
        continue;
      } else field = this.#literal(input, end, 0x0f);
      if (field === undefined) return DECODED.broken;
      isStart = false;
      restBytes -= field.sizeBytes;
      if (--restCount >= 0 && restBytes >= 0 && !this.#isLong) sink.field(field);
    }
    const isTooLarge = restCount < 0 || restBytes < 0 || this.#isLong;
    this.#isLong = false;
    return isTooLarge ? DECODED.tooLarge : DECODED.ok;
  }

  #at(index: number): Field | undefined {
    if (index <= STATIC_COUNT) return index > 0 ? STATIC[index] : undefined;
    const back = index - STATIC_COUNT - 1;
    if (back >= this.#count) return undefined;
    return this.#ring[(this.#newest - back) & (this.#ring.length - 1)];
  }

  /** An integer with the prefix `mask` at the position, and moves on; -1 for one cut off or over 2^28. RFC 7541 §5.1. */
  #integer(input: Buffer, end: number, mask: number): number {
    let value = (input[this.#position++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#position >= end) return -1;
      const byte = input[this.#position++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1;
  }

  #literal(input: Buffer, end: number, mask: number): Field | undefined {
    const index = this.#integer(input, end, mask);
    if (index < 0) return undefined;
    let name: string | undefined;
    let kind: number;
    if (index === 0) {
      name = this.#string(input, end);
      if (name === undefined) return undefined;
      kind = kindOf(name);
    } else {
      const known = this.#at(index);
      if (known === undefined) return undefined;
      name = known.name;
      kind = known.kind;
    }
    const value = this.#string(input, end);
    return value === undefined ? undefined : new Field(name, value, kind);
  }

  /** A string literal. RFC 7541 §5.2. */
  #string(input: Buffer, end: number): string | undefined {
    if (this.#position >= end) return undefined;
    const isCoded = (input[this.#position] as number) >= 0x80;
    const length = this.#integer(input, end, 0x7f);
    const start = this.#position;
    const stop = start + length;
    if (length < 0 || stop > end) return undefined;
    this.#position = stop;
    if (!isCoded) {
      if (length > scratch.length) this.#isLong = true;
      return input.toString('latin1', start, stop);
    }
    const written = decodeHuffman(input, start, stop, scratch);
    if (written >= 0) return scratch.toString('latin1', 0, written);
    if (written === -1) return undefined;
    // Longer than the whole table, too: inserting it empties the table as the true string would.
    this.#isLong = true;
    return scratch.toString('latin1');
  }

  #insert(field: Field): void {
    this.#evict(this.#maxBytes - field.sizeBytes);
    if (field.sizeBytes > this.#maxBytes) return;
    if (this.#count === this.#ring.length) this.#grow();
    this.#newest = (this.#newest + 1) & (this.#ring.length - 1);
    this.#ring[this.#newest] = field;
    this.#count++;
    this.#tableBytes += field.sizeBytes;
  }

  /** Drops the oldest entries until no more than `bytes` are counted. */
  #evict(bytes: number): void {
    while (this.#count > 0 && this.#tableBytes > bytes) {
      const oldest = (this.#newest - this.#count + 1) & (this.#ring.length - 1);
      this.#tableBytes -= (this.#ring[oldest] as Field).sizeBytes;
      this.#ring[oldest] = EMPTY;
      this.#count--;
    }
  }

  #grow(): void {
    const old = this.#ring;
    const mask = old.length - 1;
    const ring = Array.from({ length: Math.max(16, old.length * 2) }, (_, i) => (i < this.#count ? (old[(this.#newest - this.#count + 1 + i) & mask] as Field) : EMPTY));
    this.#newest = this.#count - 1;
    this.#ring = ring;
  }
}
