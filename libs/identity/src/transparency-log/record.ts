// One record of the transparency log: canonical JSON on one line, chained to the one before it by its hash.
import { type Parsed, refused } from '@isthmus/model';
import { sha256Hex } from '@isthmus/pki';

/** What a record may say: text, whole numbers, yes and no, lists and objects of these. No fractions: their text differs between programs. */
export type Fact = string | number | boolean | readonly Fact[] | { readonly [name: string]: Fact };
export type Facts = { readonly [name: string]: Fact };

/** What happened, before it has a place in the chain. */
export type Happening = { readonly kind: string; readonly facts: Facts };

export type LogRecord = Happening & {
  /** Counted from 0 without gaps. */
  readonly index: number;
  readonly atMs: number;
  /** `hash` of the record before; zeros in the first. */
  readonly previous: string;
  /** SHA-256 (hex) of the canonical JSON of all other fields, after a line that names the purpose. */
  readonly hash: string;
};

/** Where a chain stands: its number of records and the hash of the last. */
export type Head = { readonly records: number; readonly hash: string };

export const EMPTY_HEAD: Head = { records: 0, hash: '0'.repeat(64) };
/** A line with its line feed; a bundle of several roots in DER fits many times. */
export const MAX_LINE_BYTES = 256 * 1024;

const CONTEXT = 'isthmus transparency record v1\n';
const MAX_DEPTH = 8;
const KIND = /^[a-z][a-z0-9-]{0,63}$/;
const HASH = /^[0-9a-f]{64}$/;
const FIELDS: ReadonlySet<string> = new Set(['atMs', 'facts', 'hash', 'index', 'kind', 'previous']);

/** JSON with sorted names and no spaces: RFC 8785, for values without fractions. **Throws** TypeError for any other value. */
export function canonicalJson(value: Fact, depth = 0): string {
  if (depth > MAX_DEPTH) throw new TypeError(`more than ${MAX_DEPTH} levels`);
  if (typeof value === 'string') {
    // A lone surrogate has no UTF-8, so the bytes on disk would not be those that were hashed.
    if (!value.isWellFormed()) throw new TypeError('text with half a character');
    return JSON.stringify(value);
  }
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0)) return String(value);
  if (isList(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(',')}]`;
  if (typeof value !== 'object' || value === null) throw new TypeError(`${String(value)} has no canonical form`);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${canonicalJson(name)}:${canonicalJson(value[name] as Fact, depth + 1)}`).join(',')}}`;
}

function isList(value: Fact): value is readonly Fact[] {
  return Array.isArray(value);
}

/** The next record after `head`. */
export function chainRecord(head: Head, atMs: number, { kind, facts }: Happening): LogRecord {
  if (!KIND.test(kind)) throw new TypeError(`${kind} is no kind of record`);
  const body = { atMs, facts, index: head.records, kind, previous: head.hash };
  return { ...body, hash: sha256Hex(Buffer.from(CONTEXT + canonicalJson(body))) };
}

/** The record's line, with its line feed. **Throws** TypeError for one that is longer than a line may be. */
export function lineOf(record: LogRecord): string {
  const line = `${canonicalJson(record)}\n`;
  if (Buffer.byteLength(line) > MAX_LINE_BYTES) throw new TypeError(`a record of kind ${record.kind} is longer than ${MAX_LINE_BYTES} bytes`);
  return line;
}

/**
 * Reads one line without its line feed. It must be the very bytes this program writes: another order of names, a space,
 * a name that stands twice are refused, so that one record has one text. Whether it follows the one before is for `ChainCheck`.
 */
export function parseLine(bytes: Uint8Array): Parsed<LogRecord> {
  if (bytes.byteLength >= MAX_LINE_BYTES) return refused('line', `is longer than ${MAX_LINE_BYTES} bytes`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const json = JSON.parse(text) as Fact;
    if (canonicalJson(json) !== text) return refused('line', 'is not in canonical form');
    return recordOf(json);
  } catch {
    return refused('line', 'is no record: not JSON of the known form');
  }
}

function recordOf(json: Fact): Parsed<LogRecord> {
  if (typeof json !== 'object' || isList(json)) return refused('line', 'is no object');
  const { index, atMs, kind, facts, previous, hash } = json;
  if (Object.keys(json).some((name) => !FIELDS.has(name))) return refused('line', 'has a field that no record has');
  if (typeof index !== 'number' || index < 0) return refused('index', 'is no count');
  if (typeof atMs !== 'number' || atMs < 0) return refused('atMs', 'is no time');
  if (typeof kind !== 'string' || !KIND.test(kind)) return refused('kind', 'is no kind of record');
  if (typeof facts !== 'object' || isList(facts)) return refused('facts', 'is no object');
  if (typeof previous !== 'string' || !HASH.test(previous)) return refused('previous', 'is no SHA-256');
  if (typeof hash !== 'string' || !HASH.test(hash)) return refused('hash', 'is no SHA-256');
  return { ok: true, value: { index, atMs, kind, facts: facts as Facts, previous, hash } };
}

/** Why this record does not come right after `head`, or undefined. */
export function chainProblem(head: Head, record: LogRecord): string | undefined {
  if (record.index !== head.records) return `its index is ${record.index}, ${head.records} was to come: records were taken out, added or moved`;
  if (record.previous !== head.hash) return 'it does not follow the record before it: that one was changed';
  const { hash } = chainRecord(head, record.atMs, record);
  return hash === record.hash ? undefined : 'its hash is not that of what it says: it was changed';
}

export const NOT_IN_FORCE = 'not-in-force';

/** Says that the changes of these records (`end` not among them) were not made; nothing where there are none. */
export function notInForce(from: number, end: number): readonly Happening[] {
  return end <= from ? [] : [{ kind: NOT_IN_FORCE, facts: { from, to: end - 1 } }];
}
