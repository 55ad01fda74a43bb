// Decodes the chunked transfer coding strictly, in whatever pieces it comes, and never holds more than one line of it.
import type { HeaderList } from '../http/exchange.ts';
import type { HeadParser } from './head.ts';
import { FIELD_OCTET, HEX_VALUE, latin1 } from './octets.ts';
import { REFUSED, type Refusal, refusal, type SectionScanner } from './scan.ts';

/** What takes the decoded octets. */
export type ChunkTaker = { data(chunk: Buffer): void };

const SIZE = refusal(400, 'bad-chunk-size', 'a chunk size is not plain hexadecimal digits');
const EXTENSION = refusal(400, 'bad-chunk-extension', 'a chunk extension is malformed');
const EXTENSION_LONG = refusal(400, 'chunk-extension-too-long', 'chunk extensions are longer than the limit');
const ENDING = refusal(400, 'bad-chunk-end', 'a chunk does not end with CRLF where its size says');

/** Longest extension of one chunk, and of all chunks of one message together. */
const EXTENSION_BYTES = 256;
const EXTENSIONS_BYTES = 16_384;
/** 13 hexadecimal digits are below 2^53. */
const SIZE_DIGITS = 13;

const CR = 13;
const LF = 10;
const SEMICOLON = 59;

const AT_SIZE = 0;
const IN_SIZE = 1;
const IN_EXTENSION = 2;
const SIZE_LF = 3;
const IN_DATA = 4;
const DATA_CR = 5;
const DATA_LF = 6;
const IN_TRAILERS = 7;
const DONE = 8;
const STOPPED = 9;

/** One message's decoder; `reset` makes it ready for the next. Source: RFC 9112 §7.1. */
export class ChunkedDecoder {
  refused: Refusal = SIZE;
  trailers: HeaderList | undefined;
  readonly #scanner: SectionScanner;
  readonly #parser: HeadParser;
  #state = AT_SIZE;
  #size = 0;
  #digits = 0;
  #extension = 0;
  #extensions = 0;
  #section: Buffer | undefined;
  #sectionBytes = 0;

  /** `scanner` and `parser` belong together and may be those of the connection's heads: the two are never at work at once. */
  constructor(scanner: SectionScanner, parser: HeadParser) {
    this.#scanner = scanner;
    this.#parser = parser;
  }

  reset(): void {
    this.trailers = undefined;
    this.#state = AT_SIZE;
    this.#extensions = 0;
    this.#section = undefined;
    this.#sectionBytes = 0;
  }

  /** The message was given up: its taker hears no more, not even the rest of this read. */
  stop(): void {
    this.#state = STOPPED;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  /** Decodes `[at, end)`, hands the data to `taker`. Returns where it stopped: `end`, or earlier if done; or `REFUSED`. */
  decode(bytes: Buffer, at: number, end: number, taker: ChunkTaker): number {
    let i = at;
    while (i < end) {
      const octet = bytes[i] as number;
      switch (this.#state) {
        case AT_SIZE:
          this.#size = 0;
          this.#digits = 0;
          this.#extension = 0;
          if (HEX_VALUE[octet] === 255) return this.#refuse(SIZE);
          this.#state = IN_SIZE;
          break;
        case IN_SIZE: {
          const digit = HEX_VALUE[octet] as number;
          if (digit !== 255) {
            if (++this.#digits > SIZE_DIGITS) return this.#refuse(SIZE);
            this.#size = this.#size * 16 + digit;
          } else if (octet === CR) this.#state = SIZE_LF;
          else if (octet === SEMICOLON) this.#state = IN_EXTENSION;
          else return this.#refuse(SIZE);
          i += 1;
          break;
        }
        case IN_EXTENSION:
          if (octet === CR) this.#state = SIZE_LF;
          else if (FIELD_OCTET[octet] === 0) return this.#refuse(EXTENSION);
          else if (++this.#extension > EXTENSION_BYTES || ++this.#extensions > EXTENSIONS_BYTES) return this.#refuse(EXTENSION_LONG);
          i += 1;
          break;
        case SIZE_LF:
          if (octet !== LF) return this.#refuse(ENDING);
          i += 1;
          if (this.#size > 0) this.#state = IN_DATA;
          else {
            this.#state = IN_TRAILERS;
            this.#scanner.reset(false);
          }
          break;
        case IN_DATA: {
          const take = Math.min(this.#size, end - i);
          this.#size -= take;
          if (this.#size === 0) this.#state = DATA_CR;
          taker.data(take === bytes.length ? bytes : bytes.subarray(i, i + take));
          i += take;
          break;
        }
        case DATA_CR:
          if (octet !== CR) return this.#refuse(ENDING);
          this.#state = DATA_LF;
          i += 1;
          break;
        case DATA_LF:
          if (octet !== LF) return this.#refuse(ENDING);
          this.#state = AT_SIZE;
          i += 1;
          break;
        case IN_TRAILERS:
          return this.#readTrailers(bytes, i, end);
        default:
          return i;
      }
    }
    return i;
  }

  #readTrailers(bytes: Buffer, at: number, end: number): number {
    let section = bytes;
    let base = at;
    let sectionEnd = end;
    const before = this.#sectionBytes;
    if (before > 0) {
      section = appended(this.#section as Buffer, before, bytes, at, end);
      base = 0;
      sectionEnd = before + end - at;
    }
    const size = this.#scanner.scan(section, base, sectionEnd);
    if (size === REFUSED) return this.#refuse(this.#scanner.refused);
    if (size > 0) {
      if (this.#scanner.count > 0) {
        this.trailers = this.#parser.trailers(latin1(section, base, base + size));
        if (this.trailers === undefined) return this.#refuse(this.#parser.refused);
      }
      this.#state = DONE;
      this.#section = undefined;
      return at + size - before;
    }
    this.#section = before > 0 ? section : appended(undefined, 0, bytes, at, end);
    this.#sectionBytes = before + end - at;
    return end;
  }

  #refuse(why: Refusal): number {
    this.refused = why;
    return REFUSED;
  }
}

/** `[0, size)` of `held` with `[at, end)` of `more` behind it; grows by doubling, so that single octets cost no square. */
export function appended(held: Buffer | undefined, size: number, more: Buffer, at: number, end: number): Buffer {
  const need = size + end - at;
  let into = held;
  if (into === undefined || into.length < need) {
    into = Buffer.allocUnsafe(Math.max(512, need * 2));
    held?.copy(into, 0, 0, size);
  }
  more.copy(into, size, at, end);
  return into;
}
