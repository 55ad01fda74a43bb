// Reads the server name out of a TLS ClientHello that may come in any pieces. Strict, bounded, and never throws.

export type HelloRefusal = 'not-tls' | 'malformed' | 'too-large' | 'no-sni' | 'bad-sni';

/** What is known after so many bytes. */
export type HelloResult =
  | { readonly kind: 'need-more' }
  | { readonly kind: 'refused'; readonly reason: HelloRefusal }
  /** `serverName` is in lower case. */
  | { readonly kind: 'hello'; readonly serverName: string };

/** A hello with post-quantum key shares is about 1.7 KiB; nothing honest comes near this (reliability: ClientHello split). */
export const MAX_HELLO_BYTES = 16 * 1024;

const RECORD_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;

const NEED_MORE: HelloResult = { kind: 'need-more' };
const refused = (reason: HelloRefusal): HelloResult => ({ kind: 'refused', reason });
const MALFORMED = refused('malformed');
const NO_SNI = refused('no-sni');
const BAD_SNI = refused('bad-sni');

/** Some clients cut a hello into a few records; a thousand is an attack on whoever counts them. */
const MAX_RECORDS = 1_024;
const RECORD_HEADER_BYTES = 5;
const FIRST_BYTES = 2_048;

/** Bytes that come in pieces, kept in one buffer that doubles: no piece is held by itself, however small it is. */
class Growing {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  get filled(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
  get length(): number {
    return this.#length;
  }
  push(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, this.#bytes.length * 2));
      larger.set(this.filled);
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }
}

/**
 * Collects the handshake bytes of the leading records and reads the hello once it is whole; each byte is looked at once,
 * however small the pieces. **Bounds** 16 KiB of hello in 1,024 records; starts with 4 KiB.
 * **Source** RFC 8446 §4.1.2 and §5.1, RFC 6066 §3, RFC 7301.
 */
export class ClientHelloReader {
  readonly #raw = new Growing();
  readonly #handshake = new Growing();
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES);
  #headerFilled = 0;
  #recordLeft = 0;
  #records = 0;
  #result: HelloResult = NEED_MORE;

  /** Everything pushed so far, to be passed on as it came. */
  get bytes(): Buffer {
    return this.#raw.filled;
  }

  /** Takes the next bytes of the connection. Once the answer is no longer `need-more` it stays. */
  push(chunk: Uint8Array): HelloResult {
    this.#raw.push(chunk);
    let at = 0;
    while (at < chunk.length && this.#result.kind === 'need-more') {
      at = this.#recordLeft > 0 ? this.#takeBody(chunk, at) : this.#takeHeader(chunk, at);
    }
    return this.#result;
  }

  #takeHeader(chunk: Uint8Array, at: number): number {
    this.#header[this.#headerFilled++] = chunk[at] ?? 0;
    const header = this.#header;
    // Refuse at the first byte that cannot be TLS: a plain-text client learns at once.
    if (this.#headerFilled === 1 && header[0] !== RECORD_HANDSHAKE) this.#result = refused('not-tls');
    else if (this.#headerFilled === 2 && header[1] !== 3) this.#result = refused('not-tls');
    else if (this.#headerFilled === RECORD_HEADER_BYTES) {
      this.#headerFilled = 0;
      this.#recordLeft = header.readUInt16BE(3);
      if (this.#recordLeft === 0) this.#result = refused('malformed');
      else if (this.#handshake.length + this.#recordLeft > MAX_HELLO_BYTES || ++this.#records > MAX_RECORDS) this.#result = refused('too-large');
    }
    return at + 1;
  }

  #takeBody(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.#recordLeft, chunk.length - at);
    this.#handshake.push(chunk.subarray(at, at + count));
    this.#recordLeft -= count;
    const message = this.#handshake.filled;
    if (message[0] !== CLIENT_HELLO) this.#result = refused('malformed');
    else if (message.length >= 4) {
      const end = message.readUIntBE(1, 3) + 4;
      if (end > MAX_HELLO_BYTES) this.#result = refused('too-large');
      else if (message.length >= end) this.#result = readHello(message, 4, end);
    }
    return at + count;
  }
}

/**
 * The usual case, without keeping anything: a hello that lies whole in one record at the beginning of the first
 * `sizeBytes`. Undefined where it does not, or is not as it should be: then `ClientHelloReader` has the word.
 */
export function readWholeHello(bytes: Buffer, sizeBytes = bytes.length): Extract<HelloResult, { readonly kind: 'hello' }> | undefined {
  if (sizeBytes < RECORD_HEADER_BYTES + 4 || bytes[0] !== RECORD_HANDSHAKE || bytes[1] !== 3 || bytes[5] !== CLIENT_HELLO) return undefined;
  const recordEnd = RECORD_HEADER_BYTES + uint16(bytes, 3);
  const helloEnd = RECORD_HEADER_BYTES + 4 + byte(bytes, 6) * 65_536 + uint16(bytes, 7);
  if (recordEnd > sizeBytes || helloEnd > recordEnd || helloEnd > MAX_HELLO_BYTES) return undefined;
  const result = readHello(bytes, RECORD_HEADER_BYTES + 4, helloEnd);
  return result.kind === 'hello' ? result : undefined;
}

// What follows works on positions: every connection passes here, and views of buffers cost more than the reading.

const byte = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;
const uint16 = (bytes: Uint8Array, at: number): number => byte(bytes, at) * 256 + byte(bytes, at + 1);

/** Where a vector that begins at `at` with a length of `lengthSize` bytes ends; -1 where it does not end before `end`. */
function vectorEnd(bytes: Uint8Array, at: number, lengthSize: 1 | 2, end: number): number {
  if (at + lengthSize > end) return -1;
  const last = at + lengthSize + (lengthSize === 1 ? byte(bytes, at) : uint16(bytes, at));
  return last > end ? -1 : last;
}

function readHello(bytes: Buffer, start: number, end: number): HelloResult {
  const sessionId = start + 2 + 32;
  if (sessionId > end) return MALFORMED;
  const cipherSuites = vectorEnd(bytes, sessionId, 1, end);
  if (cipherSuites < 0 || cipherSuites - sessionId - 1 > 32) return MALFORMED;
  const compression = vectorEnd(bytes, cipherSuites, 2, end);
  const extensions = compression < 0 ? -1 : vectorEnd(bytes, compression, 1, end);
  if (extensions < 0) return MALFORMED;
  if (extensions === end) return NO_SNI;
  return vectorEnd(bytes, extensions, 2, end) === end ? readExtensions(bytes, extensions + 2, end) : MALFORMED;
}

/** Types seen in the hello that is being read. More are kept in a set: who sends so many pays for it. */
const seenTypes = new Uint16Array(64);

function readExtensions(bytes: Buffer, start: number, end: number): HelloResult {
  let serverName: string | undefined;
  let count = 0;
  let more: Set<number> | undefined;
  for (let at = start; at < end; ) {
    const data = at + 4;
    const next = vectorEnd(bytes, at + 2, 2, end);
    if (next < 0) return MALFORMED;
    const type = uint16(bytes, at);
    // No extension may stand twice (RFC 8446 §4.2): another parser might take the other one.
    for (let i = 0; i < count; i++) if (seenTypes[i] === type) return MALFORMED;
    if (count < seenTypes.length) seenTypes[count++] = type;
    else {
      more ??= new Set();
      if (more.has(type)) return MALFORMED;
      more.add(type);
    }
    if (type === EXTENSION_SERVER_NAME) {
      serverName = readServerName(bytes, data, next);
      if (serverName === undefined) return BAD_SNI;
    } else if (type === EXTENSION_ALPN && !isAlpn(bytes, data, next)) return MALFORMED;
    at = next;
  }
  return serverName === undefined ? NO_SNI : { kind: 'hello', serverName };
}

const HOST_NAME = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
const ADDRESS = /^\d+(\.\d+){3}$/;

/** Names found good lately, as they were written and in lower case: the same few come again and again. */
const goodNames = new Map<string, string>();
const MAX_GOOD_NAMES = 1_024;
/** The last of them, as it was written and in lower case: it may come again at once. */
const lastWritten = Buffer.from(new ArrayBuffer(256));
let lastNameBytes = 0;
let lastName = '';

/** Exactly one host_name of letters, digits, dashes and dots: no address, no trailing dot, at most 255 (RFC 6066 §3). */
function readServerName(bytes: Buffer, start: number, end: number): string | undefined {
  const nameSize = end - start - 5;
  if (vectorEnd(bytes, start, 2, end) !== end || vectorEnd(bytes, start + 3, 2, end) !== end) return undefined;
  if (bytes[start + 2] !== 0 || nameSize < 1 || nameSize > 255) return undefined;
  if (nameSize === lastNameBytes && isLastName(bytes, start + 5)) return lastName;
  const written = bytes.toString('latin1', start + 5, end);
  const name = goodNames.get(written) ?? readNewName(written);
  if (name === undefined) return undefined;
  bytes.copy(lastWritten, 0, start + 5, end);
  lastNameBytes = nameSize;
  lastName = name;
  return name;
}

function isLastName(bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < lastNameBytes; i++) if (bytes[start + i] !== lastWritten[i]) return false;
  return true;
}

function readNewName(written: string): string | undefined {
  const name = written.toLowerCase();
  if (!HOST_NAME.test(name) || ADDRESS.test(name)) return undefined;
  if (goodNames.size >= MAX_GOOD_NAMES) goodNames.clear();
  goodNames.set(written, name);
  return name;
}

/** A list of protocol names, none of them empty (RFC 7301 §3.1). */
function isAlpn(bytes: Buffer, start: number, end: number): boolean {
  if (vectorEnd(bytes, start, 2, end) !== end) return false;
  for (let at = start + 2; at < end; ) {
    const next = vectorEnd(bytes, at, 1, end);
    if (next <= at + 1) return false;
    at = next;
  }
  return true;
}

/** A fatal alert record: `unrecognized_name` tells a client that this server has no such name (RFC 8446 §6.2). */
export const ALERT_UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112]);
