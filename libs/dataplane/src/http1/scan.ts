// Finds the end of a head or trailer section and its parts, strictly and in one pass, however the bytes were split.
import { FIELD_OCTET, fieldNumber, TOKEN_LOWER } from './octets.ts';

/** Everything the codec refuses, by name: what `onRefused` says and a metric may count. */
export type RefusalCode =
  | 'bad-octet' | 'bare-line-feed' | 'bare-carriage-return' | 'obsolete-folding' | 'bad-field-name' | 'headers-too-large' | 'too-many-headers' | 'target-too-long'
  | 'bad-start-line' | 'bad-version' | 'bad-method' | 'connect-refused' | 'bad-target' | 'bad-host' | 'bad-content-length' | 'two-lengths' | 'bad-transfer-encoding'
  | 'unknown-transfer-encoding' | 'bad-connection' | 'unknown-expectation' | 'bad-status' | 'bad-trailer' | 'length-where-no-body'
  | 'bad-chunk-size' | 'bad-chunk-extension' | 'chunk-extension-too-long' | 'bad-chunk-end' | 'head-timeout';

/** Why the codec refuses a message; `status` is what a server answers. */
export type Refusal = { readonly status: number; readonly code: RefusalCode; readonly detail: string };

/** Bounds of one head or trailer section; as in `HttpLimits`. */
export type SectionLimits = { readonly headerBytes: number; readonly headerCount: number; readonly targetBytes: number };

const CR = 13;
const LF = 10;
const SPACE = 32;
const TAB = 9;
const COLON = 58;
/** What a start line holds besides its target: the longest method or status text, the version, spaces. */
const START_LINE_REST = 256;

/** The section's end has not come yet. */
export const MORE = 0;
/** The section is refused. */
export const REFUSED = -1;

/** Makes one; each is made once, where the module loads. */
export function refusal(status: number, code: RefusalCode, detail: string): Refusal {
  return { status, code, detail };
}

const CONTROL = refusal(400, 'bad-octet', 'a control character in the head');
const BARE_LF = refusal(400, 'bare-line-feed', 'a line ends with LF alone');
const BARE_CR = refusal(400, 'bare-carriage-return', 'a CR that no LF follows');
const FOLD = refusal(400, 'obsolete-folding', 'a field line begins with white space');
const NAME = refusal(400, 'bad-field-name', 'a field name is not a token directly before a colon');
const TOO_LARGE = refusal(431, 'headers-too-large', 'the head is larger than the limit');
const TOO_MANY = refusal(431, 'too-many-headers', 'the head has more fields than the limit');
const TARGET_TOO_LONG = refusal(414, 'target-too-long', 'the request target is longer than the limit');

/**
 * Scans one section: with `start` a head (a start line, then fields), else trailers (fields). All offsets are from the
 * section's first octet, so the caller may move the bytes between calls; it gives all of them again each time. The
 * verdict depends on the octets alone, not on how they were split: nothing behind the deciding octet is looked at.
 */
export class SectionScanner {
  /** Per field: name's start, name's end, value's start, value's end, number of the name or -1. */
  readonly fields: number[] = [];
  count = 0;
  /** The start line, without its CRLF. */
  lineStart = 0;
  lineEnd = 0;
  refused: Refusal = CONTROL;
  readonly #limits: SectionLimits;
  #start = true;
  #at = 0;
  #line = 0;
  #blankSeen = false;

  constructor(limits: SectionLimits) {
    this.#limits = limits;
  }

  /** Begins a new section. */
  reset(start: boolean): void {
    this.count = 0;
    this.#start = start;
    this.#at = 0;
    this.#line = 0;
    this.#blankSeen = false;
  }

  /** Length of the section with its empty line, `MORE`, or `REFUSED` and `refused` says why. */
  scan(bytes: Uint8Array, base: number, end: number): number {
    const limitBytes = this.#limits.headerBytes;
    const capAll = Math.min(end, base + limitBytes);
    let i = base + this.#at;
    for (;;) {
      const cap = this.#start ? Math.min(capAll, base + this.#limits.targetBytes + START_LINE_REST) : capAll;
      if (!this.#start && i === base + this.#line) i = this.#wholeFields(bytes, base, cap);
      while (i < cap && FIELD_OCTET[bytes[i] as number] === 1) i++;
      if (i + 1 >= cap) {
        if (i < cap && bytes[i] !== CR) return this.#refuse(bytes[i] === LF ? BARE_LF : CONTROL);
        if (cap < end || end - base >= limitBytes) return this.#refuse(this.#start && cap < base + limitBytes ? TARGET_TOO_LONG : TOO_LARGE);
        this.#at = i - base;
        return MORE;
      }
      if (bytes[i] !== CR) return this.#refuse(bytes[i] === LF ? BARE_LF : CONTROL);
      if (bytes[i + 1] !== LF) return this.#refuse(BARE_CR);
      const from = base + this.#line;
      this.#line = i + 2 - base;
      if (this.#start) {
        // One empty line before a request is forgiven (RFC 9112 §2.2).
        if (i > from || this.#blankSeen) {
          this.#start = false;
          this.lineStart = from - base;
          this.lineEnd = i - base;
        } else this.#blankSeen = true;
      } else if (i === from) {
        return this.#line;
      } else if (!this.#field(bytes, base, from, i)) return REFUSED;
      i += 2;
    }
  }

  /**
   * Takes lines that are whole and well-formed, each octet looked at once, from the beginning of a line on. Stops before
   * the first line that is anything else, where the slow path has the say: so this decides nothing by itself.
   */
  #wholeFields(bytes: Uint8Array, base: number, cap: number): number {
    let from = base + this.#line;
    for (;;) {
      let hash = 0;
      let i = from;
      for (; i < cap; i++) {
        const lower = TOKEN_LOWER[bytes[i] as number] as number;
        if (lower === 0) break;
        hash = (Math.imul(hash, 31) + lower) | 0;
      }
      if (i === from || i >= cap || bytes[i] !== COLON) break;
      const nameEnd = i;
      i += 1;
      while (i < cap && FIELD_OCTET[bytes[i] as number] === 1) i++;
      if (i + 1 >= cap || bytes[i] !== CR || bytes[i + 1] !== LF || this.count >= this.#limits.headerCount) break;
      this.#note(bytes, base, from, nameEnd, i, hash);
      from = i + 2;
    }
    this.#line = from - base;
    return from;
  }

  #field(bytes: Uint8Array, base: number, from: number, to: number): boolean {
    let hash = 0;
    let i = from;
    for (; i < to; i++) {
      const lower = TOKEN_LOWER[bytes[i] as number] as number;
      if (lower === 0) break;
      hash = (Math.imul(hash, 31) + lower) | 0;
    }
    if (i === from || bytes[i] !== COLON || i === to) {
      this.refused = bytes[from] === SPACE || bytes[from] === TAB ? FOLD : NAME;
      return false;
    }
    if (this.count >= this.#limits.headerCount) {
      this.refused = TOO_MANY;
      return false;
    }
    this.#note(bytes, base, from, i, to, hash);
    return true;
  }

  /** Notes the field whose name is `[from, nameEnd)`, without the white space around its value. */
  #note(bytes: Uint8Array, base: number, from: number, nameEnd: number, to: number, hash: number): void {
    let valueStart = nameEnd + 1;
    let valueEnd = to;
    while (valueStart < valueEnd && (bytes[valueStart] === SPACE || bytes[valueStart] === TAB)) valueStart++;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd--;
    const fields = this.fields;
    const k = this.count * 5;
    fields[k] = from - base;
    fields[k + 1] = nameEnd - base;
    fields[k + 2] = valueStart - base;
    fields[k + 3] = valueEnd - base;
    fields[k + 4] = fieldNumber(bytes, from, nameEnd, hash);
    this.count += 1;
  }

  #refuse(why: Refusal): number {
    this.refused = why;
    return REFUSED;
  }
}
