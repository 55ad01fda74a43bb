// Reads a message's body as its head framed it: so many octets, chunked, or all until the connection closes. RFC 9112 §6.
import type { HeaderList } from '../http/exchange.ts';
import { ChunkedDecoder, type ChunkTaker } from './chunked.ts';
import type { HeadParser } from './head.ts';
import type { Refusal, SectionScanner } from './scan.ts';

/** One for each connection, used again for each body. */
export class BodyReader {
  readonly #scanner: SectionScanner;
  readonly #parser: HeadParser;
  /** Made when the first chunked body comes. */
  #chunked: ChunkedDecoder | undefined;
  #isChunked = false;
  #isUntilClose = false;
  #leftBytes = 0;

  /** Those of the connection's heads, which read the trailers too. */
  constructor(scanner: SectionScanner, parser: HeadParser) {
    this.#scanner = scanner;
    this.#parser = parser;
  }

  /** A body of so many octets begins. */
  beginLength(bytes: number): void {
    this.#isChunked = false;
    this.#isUntilClose = false;
    this.#leftBytes = bytes;
  }

  /** A body in chunks begins, with trailers behind it. */
  beginChunked(): void {
    this.#isChunked = true;
    this.#isUntilClose = false;
    this.#chunked ??= new ChunkedDecoder(this.#scanner, this.#parser);
    this.#chunked.reset();
  }

  /** A body that nothing but the end of the connection ends begins. */
  beginUntilClose(): void {
    this.#isChunked = false;
    this.#isUntilClose = true;
  }

  /** Only the end of the connection ends this body. */
  get isUntilClose(): boolean {
    return this.#isUntilClose;
  }

  /** The body has been read whole. */
  get isDone(): boolean {
    if (this.#isChunked) return (this.#chunked as ChunkedDecoder).done;
    return this.#leftBytes === 0 && !this.#isUntilClose;
  }

  /** What came behind the last chunk of a body that is done. */
  get trailers(): HeaderList | undefined {
    return this.#isChunked ? (this.#chunked as ChunkedDecoder).trailers : undefined;
  }

  /** Why `read` refused. */
  get refused(): Refusal {
    return (this.#chunked as ChunkedDecoder).refused;
  }

  /** Gives the body in `[at, end)` to `taker`. Returns where it stopped: `end`, or earlier if the body is done; or `REFUSED`. */
  read(bytes: Buffer, at: number, end: number, taker: ChunkTaker): number {
    if (this.#isChunked) return (this.#chunked as ChunkedDecoder).decode(bytes, at, end, taker);
    let next = end;
    if (!this.#isUntilClose) {
      next = Math.min(end, at + this.#leftBytes);
      this.#leftBytes -= next - at;
    }
    taker.data(at === 0 && next === bytes.length ? bytes : bytes.subarray(at, next));
    return next;
  }

  /** The body was given up: its taker hears no more, not even the rest of this read. */
  stop(): void {
    this.#chunked?.stop();
  }
}
