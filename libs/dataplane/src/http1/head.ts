// Turns a scanned head into a request or a response: what framing it has, what ends at this hop, what is refused.
import type { HeaderList, RequestHead, ResponseHead } from '../http/exchange.ts';
import { absoluteForm, isAuthority } from './authority.ts';
import { FIELD, FIELD_NAMES, TARGET_OCTET, TOKEN_LOWER } from './octets.ts';
import { type Refusal, refusal, type SectionScanner } from './scan.ts';

/** A request with what only this connection needs to know. */
export type ParsedRequest = {
  readonly head: RequestHead;
  /** HTTP/1.0: no chunked response, no 1xx, no next request. */
  readonly old: boolean;
  readonly keepAlive: boolean;
};

/** A response with what only this connection needs to know. */
export type ParsedResponse = {
  readonly head: ResponseHead;
  readonly chunked: boolean;
  /** The body ends with the connection. */
  readonly untilClose: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: string | undefined;
};

const LINE = refusal(400, 'bad-start-line', 'the start line is not exactly three parts with one space between');
const VERSION = refusal(505, 'bad-version', 'the version is neither HTTP/1.1 nor HTTP/1.0');
const METHOD = refusal(501, 'bad-method', 'the method is longer than any known');
const CONNECT = refusal(405, 'connect-refused', 'CONNECT is not served over HTTP/1');
const TARGET = refusal(400, 'bad-target', 'the request target has none of the four forms');
const TARGET_LONG = refusal(414, 'target-too-long', 'the request target is longer than the limit');
const HOST = refusal(400, 'bad-host', 'Host is missing, given twice or no host and port');
const LENGTH = refusal(400, 'bad-content-length', 'Content-Length is given twice or is no decimal number');
const BOTH = refusal(400, 'two-lengths', 'both Content-Length and Transfer-Encoding');
const CODING = refusal(400, 'bad-transfer-encoding', 'Transfer-Encoding is not exactly chunked');
const CODING_UNKNOWN = refusal(501, 'unknown-transfer-encoding', 'a transfer coding other than chunked');
const CONNECTION = refusal(400, 'bad-connection', 'Connection is not a list of tokens');
const EXPECT = refusal(417, 'unknown-expectation', 'an expectation other than 100-continue');
const STATUS = refusal(400, 'bad-status', 'the status line is not HTTP/1.x, a space, three digits');
const TRAILER = refusal(400, 'bad-trailer', 'a trailer that would change the framing or the route');
const BODYLESS = refusal(400, 'length-where-no-body', 'a framing field in a response that has no body');

const MAX_METHOD = 32;
const VERSION_TEXT = /^HTTP\/[0-9]\.[0-9]$/;
const OTHER_CODINGS = /^(?:x-)?(?:gzip|deflate|compress|identity)[ \t]*(?:,[ \t]*chunked)?$/i;

/** What the fields of one head said; one object for each connection. */
class FieldFacts {
  headers: string[] = [];
  host: string | undefined;
  hosts = 0;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  close = false;
  keepAlive = false;
  connectionUpgrade = false;
  upgrade: string | undefined;
  expect: string | undefined;

  /** For the next head; `headers`, which the last one keeps, are replaced when they are read. */
  reset(): void {
    this.host = undefined;
    this.hosts = 0;
    this.contentLength = undefined;
    this.transferEncoding = undefined;
    this.close = false;
    this.keepAlive = false;
    this.connectionUpgrade = false;
    this.upgrade = undefined;
    this.expect = undefined;
  }
}

/** Parses heads that a scanner found whole. One for each connection; keeps nothing between heads. */
export class HeadParser {
  /** Why the last head was refused. */
  refused: Refusal = LINE;
  readonly #facts = new FieldFacts();
  readonly #scanner: SectionScanner;
  readonly #targetBytes: number;

  constructor(scanner: SectionScanner, targetBytes: number) {
    this.#scanner = scanner;
    this.#targetBytes = targetBytes;
  }

  /** The request whose head is `text`, or undefined and `refused` says why. */
  request(text: string, scheme: 'http' | 'https'): ParsedRequest | undefined {
    const { lineStart, lineEnd } = this.#scanner;
    const methodEnd = text.indexOf(' ', lineStart);
    const targetEnd = methodEnd < 0 ? -1 : text.indexOf(' ', methodEnd + 1);
    if (methodEnd <= lineStart || targetEnd <= methodEnd + 1 || targetEnd >= lineEnd) return this.#refuse(LINE);
    for (let i = lineStart; i < methodEnd; i++) if (TOKEN_LOWER[text.charCodeAt(i)] === 0) return this.#refuse(LINE);
    for (let i = methodEnd + 1; i < targetEnd; i++) if (TARGET_OCTET[text.charCodeAt(i)] === 0) return this.#refuse(TARGET);
    const old = text.startsWith('HTTP/1.0', targetEnd + 1);
    if (lineEnd - targetEnd !== 9 || (!old && !text.startsWith('HTTP/1.1', targetEnd + 1))) {
      return this.#refuse(VERSION_TEXT.test(text.slice(targetEnd + 1, lineEnd)) ? VERSION : LINE);
    }
    if (methodEnd - lineStart > MAX_METHOD) return this.#refuse(METHOD);
    if (targetEnd - methodEnd - 1 > this.#targetBytes) return this.#refuse(TARGET_LONG);
    const method = methodName(text, lineStart, methodEnd);
    if (method === 'CONNECT') return this.#refuse(CONNECT);

    const facts = this.#readFields(text);
    if (facts === undefined) return undefined;
    if (facts.hosts > 1 || (facts.hosts === 0 && !old) || (facts.host !== undefined && !isAuthority(facts.host))) return this.#refuse(HOST);
    let authority = facts.host ?? '';
    let target = text.slice(methodEnd + 1, targetEnd);
    if (target.charCodeAt(0) !== 0x2f) {
      if (target !== '*' || method !== 'OPTIONS') {
        const absolute = absoluteForm(target, method);
        if (absolute === undefined) return this.#refuse(TARGET);
        authority = absolute.authority;
        target = absolute.target;
      }
    }

    const bodyBytes = this.#bodyBytes(facts, old);
    if (bodyBytes === -1) return undefined;
    const expectsContinue = facts.expect !== undefined && !old && bodyBytes !== 0;
    if (facts.expect !== undefined && !old && facts.expect.toLowerCase() !== '100-continue') return this.#refuse(EXPECT);
    const { headers } = facts;
    const keepAlive = !old && !facts.close;
    // Only WebSocket may leave HTTP: h2c by upgrade would carry requests past every check (RFC 9113 §3.1 took it back).
    const upgrade = facts.connectionUpgrade && !old && bodyBytes === 0 && facts.upgrade?.toLowerCase() === 'websocket' ? 'websocket' : undefined;
    const head: RequestHead = upgrade === undefined ? { method, target, authority, scheme, headers, bodyBytes, expectsContinue } : { method, target, authority, scheme, headers, bodyBytes, upgrade, expectsContinue };
    return { head, old, keepAlive };
  }

  /** The response whose head is `text` to a request of `method`, or undefined and `refused` says why. */
  response(text: string, method: string): ParsedResponse | undefined {
    const { lineStart, lineEnd } = this.#scanner;
    const old = text.startsWith('HTTP/1.0 ', lineStart);
    if (lineStart !== 0 || (!old && !text.startsWith('HTTP/1.1 ')) || lineEnd < 12) return this.#refuse(STATUS);
    let status = 0;
    for (let i = 9; i < 12; i++) {
      const digit = text.charCodeAt(i) - 48;
      if (digit < 0 || digit > 9) return this.#refuse(STATUS);
      status = status * 10 + digit;
    }
    if (status < 100 || status > 599 || (lineEnd > 12 && text.charCodeAt(12) !== 32)) return this.#refuse(STATUS);
    const facts = this.#readFields(text);
    if (facts === undefined) return undefined;
    if (status < 200 || status === 204) {
      if (facts.transferEncoding !== undefined || (facts.contentLength !== undefined && (status < 200 || facts.contentLength !== '0'))) return this.#refuse(BODYLESS);
      const upgrade = facts.connectionUpgrade ? facts.upgrade : undefined;
      return { head: { status, headers: facts.headers, bodyBytes: 0 }, chunked: false, untilClose: false, keepAlive: !old && !facts.close, upgrade };
    }
    const given = facts.contentLength !== undefined || facts.transferEncoding !== undefined;
    const bodyBytes = given ? this.#bodyBytes(facts, old) : undefined;
    if (bodyBytes === -1) return undefined;
    const bodyless = method === 'HEAD' || status === 304;
    const chunked = facts.transferEncoding !== undefined && !bodyless;
    const untilClose = !given && !bodyless;
    return { head: { status, headers: facts.headers, bodyBytes }, chunked, untilClose, keepAlive: !facts.close && !untilClose && (!old || facts.keepAlive), upgrade: undefined };
  }

  /** Trailers found whole in `text`; undefined and `refused` if one of them may not stand there. */
  trailers(text: string): HeaderList | undefined {
    const { fields, count } = this.#scanner;
    const out: string[] = [];
    for (let i = 0, k = 0; i < count; i++, k += 5) {
      const id = fields[k + 4] as number;
      if (id === FIELD.host || id === FIELD.contentLength || id === FIELD.transferEncoding) return this.#refuse(TRAILER);
      if (id >= 0 && id < FIELD.other) continue;
      out.push(id >= 0 ? (FIELD_NAMES[id] as string) : text.slice(fields[k], fields[k + 1]).toLowerCase(), text.slice(fields[k + 2], fields[k + 3]));
    }
    return out;
  }

  #refuse(why: Refusal): undefined {
    this.refused = why;
    return undefined;
  }

  /** Bytes of the body, undefined for chunked, -1 if refused. */
  #bodyBytes(facts: FieldFacts, old: boolean): number | undefined {
    const { contentLength, transferEncoding } = facts;
    if (transferEncoding !== undefined) {
      if (contentLength !== undefined) this.refused = BOTH;
      else if (old) this.refused = CODING;
      else if (transferEncoding !== 'chunked' && transferEncoding.toLowerCase() !== 'chunked') this.refused = OTHER_CODINGS.test(transferEncoding) ? CODING_UNKNOWN : CODING;
      else return undefined;
      return -1;
    }
    if (contentLength === undefined) return 0;
    const { length } = contentLength;
    if (length === 0 || length > 15) {
      this.refused = LENGTH;
      return -1;
    }
    let value = 0;
    for (let i = 0; i < length; i++) {
      const digit = contentLength.charCodeAt(i) - 48;
      if (digit < 0 || digit > 9) {
        this.refused = LENGTH;
        return -1;
      }
      value = value * 10 + digit;
    }
    return value;
  }

  #readFields(text: string): FieldFacts | undefined {
    const { fields, count } = this.#scanner;
    const facts = this.#facts;
    facts.reset();
    let nominated: Set<string> | undefined;
    const headers: string[] = [];
    for (let i = 0, k = 0; i < count; i++, k += 5) {
      const id = fields[k + 4] as number;
      const value = text.slice(fields[k + 2], fields[k + 3]);
      if (id >= FIELD.other) {
        headers.push(FIELD_NAMES[id] as string, value);
        continue;
      }
      switch (id) {
        case -1:
          headers.push(text.slice(fields[k], fields[k + 1]).toLowerCase(), value);
          break;
        case FIELD.host:
          facts.host = value;
          facts.hosts += 1;
          break;
        case FIELD.contentLength:
          if (facts.contentLength !== undefined) return this.#refuse(LENGTH);
          facts.contentLength = value;
          break;
        case FIELD.transferEncoding:
          if (facts.transferEncoding !== undefined) return this.#refuse(CODING);
          facts.transferEncoding = value;
          break;
        case FIELD.connection:
          if (value === 'keep-alive') facts.keepAlive = true;
          else if (value === 'close') facts.close = true;
          else {
            nominated ??= new Set();
            if (!readConnection(value, facts, nominated)) return this.#refuse(CONNECTION);
          }
          break;
        case FIELD.upgrade:
          facts.upgrade = facts.upgrade === undefined ? value : '';
          break;
        case FIELD.expect:
          facts.expect = facts.expect === undefined ? value : '';
          break;
        default: // ends at this hop (RFC 9110 §7.6.1)
      }
    }
    facts.headers = nominated !== undefined && nominated.size > 0 ? withoutNominated(headers, nominated) : headers;
    return facts;
  }
}

function methodName(text: string, start: number, end: number): string {
  switch (end - start) {
    case 3:
      if (text.startsWith('GET', start)) return 'GET';
      if (text.startsWith('PUT', start)) return 'PUT';
      break;
    case 4:
      if (text.startsWith('POST', start)) return 'POST';
      if (text.startsWith('HEAD', start)) return 'HEAD';
      break;
    default:
  }
  return text.slice(start, end);
}

/** Reads a Connection value that is more than one common word. */
function readConnection(value: string, facts: FieldFacts, nominated: Set<string>): boolean {
  for (const part of value.split(',')) {
    const option = part.trim().toLowerCase();
    if (option === '') continue; // an empty element says nothing (RFC 9110 §5.6.1)
    for (let i = 0; i < option.length; i++) if (TOKEN_LOWER[option.charCodeAt(i)] === 0) return false;
    if (option === 'close') facts.close = true;
    else if (option === 'keep-alive') facts.keepAlive = true;
    else if (option === 'upgrade') facts.connectionUpgrade = true;
    else nominated.add(option);
  }
  return true;
}

function withoutNominated(headers: readonly string[], nominated: ReadonlySet<string>): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) if (!nominated.has(headers[i] as string)) out.push(headers[i] as string, headers[i + 1] as string);
  return out;
}
