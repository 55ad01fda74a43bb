// Reads the server name out of a TLS ClientHello that may come in any pieces. Strict, bounded, and never throws.

export type HelloRefusal = 'not-tls' | 'malformed' | 'too-large' | 'no-sni' | 'bad-sni';

/** What is known after so many bytes. */
export type HelloResult =
  | { readonly kind: 'need-more' }
  | { readonly kind: 'refused'; readonly reason: HelloRefusal }
  /** `serverName` is in lower case. */
  | { readonly kind: 'hello'; readonly serverName: string; readonly alpn: readonly string[] };

/** A hello with post-quantum key shares is about 1.7 KiB; nothing honest comes near this (reliability: ClientHello split). */
export const MAX_HELLO_BYTES = 16 * 1024;

const RECORD_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;

const NEED_MORE: HelloResult = { kind: 'need-more' };
const refused = (reason: HelloRefusal): HelloResult => ({ kind: 'refused', reason });

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
      else if (message.length >= end) this.#result = readHello(message.subarray(4, end));
    }
    return at + count;
  }
}

/**
 * The usual case, without keeping anything: a hello that lies whole in one record at the beginning of `bytes`. Undefined
 * where it does not, or is not as it should be: then `ClientHelloReader` has the word.
 */
export function readWholeHello(bytes: Buffer): Extract<HelloResult, { readonly kind: 'hello' }> | undefined {
  if (bytes.length < RECORD_HEADER_BYTES + 4 || bytes[0] !== RECORD_HANDSHAKE || bytes[1] !== 3 || bytes[5] !== CLIENT_HELLO) return undefined;
  const recordEnd = RECORD_HEADER_BYTES + bytes.readUInt16BE(3);
  const helloEnd = RECORD_HEADER_BYTES + 4 + bytes.readUIntBE(6, 3);
  if (recordEnd > bytes.length || helloEnd > recordEnd || helloEnd > MAX_HELLO_BYTES) return undefined;
  const result = readHello(bytes.subarray(RECORD_HEADER_BYTES + 4, helloEnd));
  return result.kind === 'hello' ? result : undefined;
}

/** A view over bytes that gives undefined past the end instead of throwing. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }
  uint(size: 1 | 2): number | undefined {
    if (this.#at + size > this.#bytes.length) return undefined;
    const value = this.#bytes.readUIntBE(this.#at, size);
    this.#at += size;
    return value;
  }
  take(length: number | undefined): Buffer | undefined {
    if (length === undefined || this.#at + length > this.#bytes.length) return undefined;
    const slice = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return slice;
  }
  /** A vector with its length in front. */
  vector(lengthSize: 1 | 2): Buffer | undefined {
    return this.take(this.uint(lengthSize));
  }
}

function readHello(body: Buffer): HelloResult {
  const hello = new Cursor(body);
  const fixed = hello.take(2 + 32);
  const sessionId = hello.vector(1);
  const cipherSuites = hello.vector(2);
  const compression = hello.vector(1);
  if (fixed === undefined || sessionId === undefined || sessionId.length > 32 || cipherSuites === undefined || compression === undefined) return refused('malformed');
  if (hello.done) return refused('no-sni');
  const extensions = hello.vector(2);
  if (extensions === undefined || !hello.done) return refused('malformed');
  return readExtensions(new Cursor(extensions));
}

function readExtensions(list: Cursor): HelloResult {
  let serverName: string | undefined;
  let alpn: readonly string[] = [];
  const seen = new Set<number>();
  while (!list.done) {
    const type = list.uint(2);
    const data = list.vector(2);
    if (type === undefined || data === undefined) return refused('malformed');
    // No extension may stand twice (RFC 8446 §4.2): another parser might take the other one.
    if (seen.has(type)) return refused('malformed');
    seen.add(type);
    if (type === EXTENSION_SERVER_NAME) {
      const name = readServerName(data);
      if (name === undefined) return refused('bad-sni');
      serverName = name;
    } else if (type === EXTENSION_ALPN) {
      const names = readAlpn(data);
      if (names === undefined) return refused('malformed');
      alpn = names;
    }
  }
  return serverName === undefined ? refused('no-sni') : { kind: 'hello', serverName, alpn };
}

const HOST_NAME = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
const ADDRESS = /^\d+(\.\d+){3}$/;

/** Exactly one host_name of letters, digits, dashes and dots: no address, no trailing dot, at most 255 (RFC 6066 §3). */
function readServerName(data: Buffer): string | undefined {
  const outer = new Cursor(data);
  const list = outer.vector(2);
  if (list === undefined || !outer.done) return undefined;
  const names = new Cursor(list);
  const type = names.uint(1);
  const bytes = names.vector(2);
  if (type !== 0 || bytes === undefined || !names.done || bytes.length === 0 || bytes.length > 255) return undefined;
  const name = bytes.toString('latin1').toLowerCase();
  return HOST_NAME.test(name) && !ADDRESS.test(name) ? name : undefined;
}

function readAlpn(data: Buffer): readonly string[] | undefined {
  const outer = new Cursor(data);
  const list = outer.vector(2);
  if (list === undefined || !outer.done) return undefined;
  const names = new Cursor(list);
  const protocols: string[] = [];
  while (!names.done) {
    const name = names.vector(1);
    if (name === undefined || name.length === 0) return undefined;
    protocols.push(name.toString('latin1'));
  }
  return protocols;
}

/** A fatal alert record: `unrecognized_name` tells a client that this server has no such name (RFC 8446 §6.2). */
export const ALERT_UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112]);
