// Reads DER as views of the bytes it came in: strict, bounded, and without an object for every value that nobody asks for.

/** One value: its identifier octet, its contents, and the whole of it. All three are views, not copies. */
export type Der = { readonly tag: number; readonly value: Buffer; readonly whole: Buffer };

/** Identifier octets that certificates use (X.690 §8.1.2). */
export const TAG = { boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, oid: 0x06, utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30, set: 0x31 } as const;
/** The identifier octet of a context-specific tag. */
export const context = (tag: number, constructed = false): number => (constructed ? 0xa0 : 0x80) | tag;

const MAX_DEPTH = 16;
const MAX_VALUES = 8_192;
const CONSTRUCTED = 0x20;

/** What makes these bytes something else than DER. */
export class DerFault extends TypeError {}

/**
 * Reads exactly one value and checks the form of everything within: definite and shortest lengths, tags of one octet,
 * at most 16 levels and 8,192 values. **Throws** DerFault. Source: X.690 §10.1.
 */
export function readDer(bytes: Buffer): Der {
  const value = readAt(bytes, 0);
  if (value.whole.byteLength !== bytes.byteLength) throw new DerFault('bytes are left over');
  checkWithin(value);
  return value;
}

function checkWithin(root: Der): void {
  let count = 0;
  const check = (item: Der, depth: number): void => {
    count += 1;
    if (depth > MAX_DEPTH || count > MAX_VALUES) throw new DerFault('is nested too deep, or holds too many values');
    if ((item.tag & CONSTRUCTED) === 0) return;
    for (const child of itemsOf(item)) check(child, depth + 1);
  };
  check(root, 0);
}

function readAt(bytes: Buffer, at: number): Der {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) throw new DerFault('ends too early');
  if ((tag & 0x1f) === 0x1f) throw new DerFault('has a tag of several octets');
  let length = first;
  let from = at + 2;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3) throw new DerFault('has an indefinite or absurd length');
    if (from + octets > bytes.byteLength) throw new DerFault('ends too early');
    length = bytes.readUIntBE(from, octets);
    from += octets;
    if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw new DerFault('has a length in a longer form than needed');
  }
  if (from + length > bytes.byteLength) throw new DerFault('ends too early');
  return { tag, value: bytes.subarray(from, from + length), whole: bytes.subarray(at, from + length) };
}

/** The values a constructed one is made of. **Throws** DerFault. */
export function itemsOf(item: Der): Der[] {
  if ((item.tag & CONSTRUCTED) === 0) throw new DerFault('is no constructed value');
  const items: Der[] = [];
  for (let at = 0; at < item.value.byteLength; ) {
    const next = readAt(item.value, at);
    items.push(next);
    at += next.whole.byteLength;
  }
  return items;
}

/** The same value, if it is of that kind. **Throws** DerFault for another, or none. */
export function expect(item: Der | undefined, tag: number): Der {
  if (item?.tag !== tag) throw new DerFault(`has ${item === undefined ? 'nothing' : `tag 0x${item.tag.toString(16)}`} where 0x${tag.toString(16)} should be`);
  return item;
}

/** The values of a SEQUENCE. **Throws** DerFault. */
export function sequenceOf(item: Der | undefined): Der[] {
  return itemsOf(expect(item, TAG.sequence));
}

/** A BOOLEAN: all bits or none (X.690 §11.1). **Throws** DerFault. */
export function booleanOf(item: Der | undefined): boolean {
  const { value } = expect(item, TAG.boolean);
  if (value.byteLength !== 1 || (value[0] !== 0 && value[0] !== 0xff)) throw new DerFault('has a BOOLEAN that is neither');
  return value[0] === 0xff;
}

/** The octets of an INTEGER in its shortest form (X.690 §8.3.2). **Throws** DerFault. */
export function integerOf(item: Der | undefined): Buffer {
  const { value } = expect(item, TAG.integer);
  const [first, second] = value;
  if (first === undefined) throw new DerFault('has an empty INTEGER');
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) throw new DerFault('has an INTEGER in a longer form than needed');
  return value;
}

/** The bits of a BIT STRING and how many of its last octet are unused (X.690 §8.6, §11.2.1). **Throws** DerFault. */
export function bitsOf(item: Der | undefined): { readonly bytes: Buffer; readonly unused: number } {
  const { value } = expect(item, TAG.bitString);
  const unused = value[0] ?? 8;
  const bytes = value.subarray(1);
  if (unused > 7 || (unused > 0 && bytes.byteLength === 0)) throw new DerFault('has a BIT STRING of no such length');
  if (((bytes.at(-1) ?? 0) & ((1 << unused) - 1)) !== 0) throw new DerFault('has a BIT STRING whose unused bits are set');
  return { bytes, unused };
}

/** An OBJECT IDENTIFIER in dotted form (X.690 §8.19). **Throws** DerFault. */
export function oidTextOf(item: Der | undefined): string {
  const { value } = expect(item, TAG.oid);
  const arcs: number[] = [];
  let arc = 0;
  let isWithin = false;
  for (const octet of value) {
    if (!isWithin && octet === 0x80) throw new DerFault('has an OBJECT IDENTIFIER in a longer form than needed');
    if (arc > 2 ** 40) throw new DerFault('has an OBJECT IDENTIFIER of absurd size');
    arc = arc * 128 + (octet & 0x7f);
    isWithin = (octet & 0x80) !== 0;
    if (isWithin) continue;
    arcs.push(arc);
    arc = 0;
  }
  const [first] = arcs;
  if (first === undefined || isWithin) throw new DerFault('has an OBJECT IDENTIFIER that is cut off');
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - top * 40, ...arcs.slice(1)].join('.');
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/**
 * A Time in milliseconds, in the forms certificates may use: whole seconds of UTC, a year of two digits meaning 1950 to
 * 2049. **Throws** DerFault. Source: RFC 5280 §4.1.2.5.
 */
export function timeOf(item: Der | undefined): number {
  const text = item?.value.toString('latin1') ?? '';
  const match = item?.tag === TAG.utcTime ? UTC_TIME.exec(text) : item?.tag === TAG.generalizedTime ? GENERALIZED_TIME.exec(text) : null;
  if (match === null) throw new DerFault('has a time that is none');
  const [years = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const year = item?.tag === TAG.utcTime ? years + (years < 50 ? 2_000 : 1_900) : years;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const isReal = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour && date.getUTCMinutes() === minute && date.getUTCSeconds() === second;
  if (!isReal) throw new DerFault('has a time that is none');
  return date.getTime();
}
