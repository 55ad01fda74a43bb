// HPACK encoding: what repeats goes into the table, what changes each time does not, what is secret never does.
import { encodeHuffman, huffmanLength } from './huffman.ts';
import { STATIC_COUNT, STATIC_FIELDS } from './static-table.ts';

/** How a field is written when no table holds it. */
const INDEX = 0;
/** In the table once the same value came again soon. */
const SECOND = 1;
/** Never in a table, here or further on. RFC 7541 §7.1.3. */
const NEVER = 2;

const NEVER_INDEXED = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'x-api-key'];
const REPEATING = [
  ':authority', ':method', ':scheme', ':status', ':protocol', 'accept', 'accept-encoding', 'accept-language', 'alt-svc', 'cache-control', 'content-encoding',
  'content-type', 'grpc-accept-encoding', 'grpc-encoding', 'grpc-status', 'server', 'te', 'user-agent', 'vary', 'via',
];

/** What is known of a name beforehand: the first static index of it, and the static values. */
type Known = { readonly index: number; readonly count: number; readonly policy: number };
const KNOWN = new Map<string, Known>();
for (const name of NEVER_INDEXED) KNOWN.set(name, { index: 0, count: 0, policy: NEVER });
for (const name of REPEATING) KNOWN.set(name, { index: 0, count: 0, policy: INDEX });
for (let i = 1; i <= STATIC_COUNT; i++) {
  const name = STATIC_FIELDS[i]?.[0] ?? '';
  const known = KNOWN.get(name);
  KNOWN.set(name, { index: known === undefined || known.index === 0 ? i : known.index, count: (known?.count ?? 0) + 1, policy: known?.policy ?? SECOND });
}
const UNKNOWN: Known = { index: 0, count: 0, policy: SECOND };

type Entry = { readonly name: Name; readonly value: string; readonly serial: number; readonly sizeBytes: number };

/** What this encoder knows of one name. */
type Name = { readonly name: string; readonly known: Known; readonly entries: Entry[]; readonly seen: string[]; turn: number };

/** Names remembered at most; past that all is forgotten but the table itself. */
const MAX_NAMES = 128;
/** The last values of a name that count as seen, and how long such a value may be. */
const SEEN_COUNT = 4;
const MAX_SEEN_BYTES = 256;
/** Longer values are not worth their place in a table of 4 KiB. */
const MAX_INDEXED_BYTES = 1024;

/**
 * One direction's encoder. Writes into the caller's buffer, which has room for `boundOf`. **Bounds** its table by the smaller of
 * `maxTableBytes` and what the peer allows. **Source** RFC 7541.
 */
export class HpackEncoder {
  readonly #maxTableBytes: number;
  #allowedBytes: number;
  /** The smallest size since the last block, to be told before the next one. RFC 7541 §4.2. */
  #toldBytes = -1;
  #tableBytes = 0;
  #names = new Map<string, Name>();
  #entries: Entry[] = [];
  /** Of the oldest in `#entries`. */
  #oldest = 0;
  #serial = 0;

  constructor(maxTableBytes = 4096) {
    this.#maxTableBytes = maxTableBytes;
    this.#allowedBytes = Math.min(4096, maxTableBytes);
  }

  /** Bytes the dynamic table counts now. */
  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE came. */
  resize(peerBytes: number): void {
    const bytes = Math.min(peerBytes, this.#maxTableBytes);
    if (bytes === this.#allowedBytes) return;
    this.#toldBytes = this.#toldBytes < 0 ? bytes : Math.min(this.#toldBytes, bytes);
    this.#allowedBytes = bytes;
    this.#evict(bytes);
  }

  /** Comes before the first field of each block. Returns the new position, as all writing does. */
  begin(output: Uint8Array, position: number): number {
    if (this.#toldBytes < 0) return position;
    if (this.#toldBytes < this.#allowedBytes) position = writeInteger(output, position, 0x20, 0x1f, this.#toldBytes);
    this.#toldBytes = -1;
    return writeInteger(output, position, 0x20, 0x1f, this.#allowedBytes);
  }

  /** Writes one field. Characters that no field may hold become `?`. */
  field(name: string, value: string, output: Buffer, position: number): number {
    const own = this.#names.get(name) ?? this.#name(name);
    const { known, entries } = own;
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i] as Entry;
      if (entry.value === value) return writeInteger(output, position, 0x80, 0x7f, STATIC_COUNT + this.#serial - entry.serial + 1);
    }
    for (let i = 0, index = known.index; i < known.count; i++, index++) {
      if ((STATIC_FIELDS[index] as readonly [string, string])[1] === value) return writeInteger(output, position, 0x80, 0x7f, index);
    }
    const isIndexed = known.policy === INDEX || (known.policy === SECOND && wasSeen(own, value));
    const nameIndex = known.index !== 0 ? known.index : entries.length > 0 ? STATIC_COUNT + this.#serial - (entries[entries.length - 1] as Entry).serial + 1 : 0;
    const sizeBytes = name.length + value.length + 32;
    if (isIndexed && value.length <= MAX_INDEXED_BYTES && sizeBytes <= this.#allowedBytes) {
      position = writeInteger(output, position, 0x40, 0x3f, nameIndex);
      if (nameIndex === 0) position = writeString(name, output, position, true);
      position = writeString(value, output, position, true);
      this.#insert({ name: own, value: clean(value), serial: this.#serial + 1, sizeBytes });
      return position;
    }
    position = known.policy === NEVER ? writeInteger(output, position, 0x10, 0x0f, nameIndex) : writeInteger(output, position, 0, 0x0f, nameIndex);
    if (nameIndex === 0) position = writeString(name, output, position, true);
    return writeString(value, output, position, false);
  }

  #name(name: string): Name {
    const own: Name = { name, known: KNOWN.get(name) ?? UNKNOWN, entries: [], seen: [], turn: 0 };
    if (this.#names.size >= MAX_NAMES) this.#forget();
    this.#names.set(name, own);
    return own;
  }

  /** Keeps only the names that the table holds: their records must stay the ones its entries point to. */
  #forget(): void {
    this.#names.clear();
    for (let i = this.#oldest; i < this.#entries.length; i++) {
      const { name } = this.#entries[i] as Entry;
      this.#names.set(name.name, name);
    }
  }

  #insert(entry: Entry): void {
    this.#evict(this.#allowedBytes - entry.sizeBytes);
    this.#serial = entry.serial;
    this.#entries.push(entry);
    entry.name.entries.push(entry);
    this.#tableBytes += entry.sizeBytes;
  }

  #evict(bytes: number): void {
    while (this.#tableBytes > bytes) {
      const entry = this.#entries[this.#oldest++] as Entry;
      entry.name.entries.shift();
      this.#tableBytes -= entry.sizeBytes;
    }
    if (this.#oldest > 128 && this.#oldest * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#oldest);
      this.#oldest = 0;
    }
  }
}

function wasSeen(own: Name, value: string): boolean {
  if (own.seen.includes(value)) return true;
  if (value.length > MAX_SEEN_BYTES) return false;
  own.seen[own.turn] = value;
  own.turn = (own.turn + 1) % SEEN_COUNT;
  return false;
}

/** Bytes that one field may take at most: three integers, and strings that are never longer than in plain. */
export function boundOf(name: string, value: string): number {
  return name.length + value.length + 15;
}

function writeInteger(output: Uint8Array, position: number, pattern: number, mask: number, value: number): number {
  if (value < mask) {
    output[position] = pattern | value;
    return position + 1;
  }
  output[position++] = pattern | mask;
  value -= mask;
  while (value >= 0x80) {
    output[position++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  output[position++] = value;
  return position;
}

/** Huffman-coded where asked for and shorter: worth its time for what goes into the table and is sent once. */
function writeString(text: string, output: Buffer, position: number, isCoded: boolean): number {
  const length = text.length;
  if (isCoded) {
    const safe = clean(text);
    const coded = huffmanLength(safe);
    if (coded < length) return encodeHuffman(safe, output, writeInteger(output, position, 0x80, 0x7f, coded));
  }
  position = writeInteger(output, position, 0, 0x7f, length);
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i);
    output[position + i] = isUnsafe(c) ? 0x3f : c;
  }
  return position + length;
}

// What could end a field in HTTP/1.1 must not get there by way of a table either.
function isUnsafe(c: number): boolean {
  return c > 0xff || c === 0 || c === 0x0a || c === 0x0d;
}

function clean(text: string): string {
  for (let i = 0; i < text.length; i++) if (isUnsafe(text.charCodeAt(i))) return cleaned(text);
  return text;
}

function cleaned(text: string): string {
  let out = '';
  for (let i = 0; i < text.length; i++) out += isUnsafe(text.charCodeAt(i)) ? '?' : text.charAt(i);
  return out;
}
