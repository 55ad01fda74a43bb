// Reads the requests of a connection: cuts its bytes into heads and bodies, and holds what comes before anyone can use it.
import type { HeaderList, HttpLimits } from '../http/exchange.ts';
import { isLent, kept } from '../transport/lent.ts';
import type { ByteStream } from '../transport/transport.ts';
import { BodyReader } from './body-reader.ts';
import { appended, type ChunkTaker } from './chunked.ts';
import { HeadParser, type ParsedRequest } from './head.ts';
import { latin1 } from './octets.ts';
import { MORE, REFUSED, type Refusal, SectionScanner } from './scan.ts';

/** What a reader tells its connection, and asks of it. Any of these may lead back into the reader. */
export interface RequestTaker {
  /** Who takes what comes behind the head; undefined: nobody yet, so it waits. */
  readonly bodyTaker: ChunkTaker | undefined;
  /** A head has begun and has not come whole. */
  headBegan(): void;
  /** A head has come. Its body follows, unless it has none. */
  began(parsed: ParsedRequest): void;
  /** The body has come whole, and been taken. */
  bodyEnded(trailers: HeaderList | undefined): void;
  /** What came is no HTTP that could be read in one way only. Nothing more is read. */
  refused(why: Refusal): void;
}

const HEAD = 0;
const BODY = 1;
const WAITING = 2; // a request is read, the next one's turn has not come
const RAW = 3;
const STOPPED = 4;

/** One request after another: the next one is read only when `next` says so. Pauses its stream while nobody takes what comes. */
export class RequestReader {
  readonly #stream: Pick<ByteStream, 'pause' | 'resume' | 'destroyed'>;
  readonly #taker: RequestTaker;
  readonly #scheme: 'http' | 'https';
  readonly #scanner: SectionScanner;
  readonly #parser: HeadParser;
  readonly #body: BodyReader;
  #phase = HEAD;
  /** The first head's time runs from the connection's beginning. */
  #hasHeadBegun = true;
  /** Bytes read and not yet used: `[#at, #end)` of `#input`. */
  #input: Buffer | undefined;
  #at = 0;
  #end = 0;
  #isRunning = false;
  #isPaused = false;

  constructor(stream: Pick<ByteStream, 'pause' | 'resume' | 'destroyed'>, taker: RequestTaker, limits: HttpLimits, scheme: 'http' | 'https') {
    this.#stream = stream;
    this.#taker = taker;
    this.#scheme = scheme;
    this.#scanner = new SectionScanner(limits);
    this.#parser = new HeadParser(this.#scanner, limits.targetBytes);
    this.#body = new BodyReader(this.#scanner, this.#parser);
  }

  /** Nothing more is read. */
  get isStopped(): boolean {
    return this.#phase === STOPPED;
  }

  /** A request's body is under way. */
  get isInBody(): boolean {
    return this.#phase === BODY;
  }

  /** The bytes are another protocol's. */
  get isRaw(): boolean {
    return this.#phase === RAW;
  }

  /** Between two requests: no octet of the next one has been read. */
  get isBetween(): boolean {
    return this.#phase === HEAD && this.#input === undefined && !this.#isRunning;
  }

  /** Some of a head has come and some has not. */
  get isInHead(): boolean {
    return this.#phase === HEAD && this.#input !== undefined;
  }

  /** The stream is held back. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Takes bytes from the stream. */
  read(chunk: Buffer): void {
    const input = this.#input;
    if (input === undefined) return this.#run(chunk, 0, chunk.length);
    const size = this.#end - this.#at;
    if (this.#at === 0) return this.#run(appended(input, size, chunk, 0, chunk.length), 0, size + chunk.length);
    const joined = Buffer.concat([input.subarray(this.#at, this.#end), chunk]);
    this.#input = joined;
    this.#at = 0;
    this.#end = joined.length;
    this.#run(joined, 0, joined.length);
  }

  /** There is a taker now: goes on with what was held, unless that is what it is doing. */
  goOn(): void {
    if (this.#isRunning) return;
    const input = this.#input;
    if (input === undefined) return this.#resume();
    const at = this.#at;
    const end = this.#end;
    this.#input = undefined;
    const wasPaused = this.#isPaused;
    this.#isPaused = false;
    this.#run(input, at, end);
    // Whoever took these bytes may have asked for a pause of its own.
    if (wasPaused && !this.#isPaused && !this.#stream.destroyed) this.#stream.resume();
  }

  /** The next request's turn has come; `goOn` reads what there is of it. */
  next(): void {
    this.#phase = HEAD;
  }

  /** From now on the bytes are another protocol's. */
  switch(): void {
    this.#phase = RAW;
  }

  /** Reads nothing any more: what comes is nobody's. */
  stop(): void {
    this.#phase = STOPPED;
    this.#input = undefined;
    this.#body.stop();
  }

  /** Lets the stream flow again, so that what comes too late is read and its end seen. */
  drainStream(): void {
    this.#resume();
  }

  /** The body's taker wants no more for now. */
  pauseBody(): void {
    if (this.#phase === BODY || this.#phase === RAW) this.#pause();
  }

  /** It wants more; what is held must be taken first. */
  resumeBody(): void {
    if ((this.#phase === BODY || this.#phase === RAW) && this.#input === undefined) this.#resume();
  }

  #run(bytes: Buffer, from: number, end: number): void {
    let at = from;
    this.#isRunning = true;
    while (at < end) {
      if (this.#phase === HEAD) {
        const size = this.#scanner.scan(bytes, at, end);
        if (size === MORE) break;
        if (size === REFUSED) return this.#refuse(this.#scanner.refused);
        const parsed = this.#parser.request(latin1(bytes, at, at + size), this.#scheme);
        if (parsed === undefined) return this.#refuse(this.#parser.refused);
        at += size;
        this.#begin(parsed);
      } else if (this.#phase === BODY) {
        const next = this.#readBody(bytes, at, end);
        if (next === REFUSED) return this.#refuse(this.#body.refused);
        if (next === at && this.#phase === BODY) break;
        at = next;
      } else if (this.#phase === RAW) {
        const taker = this.#taker.bodyTaker;
        if (taker === undefined) break;
        taker.data(bytes.subarray(at, end));
        at = end;
      } else break;
    }
    this.#isRunning = false;
    if (this.#phase === STOPPED) this.#input = undefined;
    else this.#hold(bytes, at, end);
  }

  #begin(parsed: ParsedRequest): void {
    const { bodyBytes } = parsed.head;
    this.#hasHeadBegun = false;
    if (bodyBytes === 0) this.#phase = WAITING;
    else {
      this.#phase = BODY;
      if (bodyBytes === undefined) this.#body.beginChunked();
      else this.#body.beginLength(bodyBytes);
    }
    this.#scanner.reset(true);
    this.#taker.began(parsed);
  }

  /** Where reading stopped; `at` itself if nobody takes the body yet; or `REFUSED`. */
  #readBody(bytes: Buffer, at: number, end: number): number {
    const taker = this.#taker.bodyTaker;
    if (taker === undefined) return at;
    const body = this.#body;
    const next = body.read(bytes, at, end, taker);
    if (next === REFUSED || this.#phase !== BODY || !body.isDone) return next;
    this.#phase = WAITING;
    this.#resume();
    this.#scanner.reset(true);
    this.#taker.bodyEnded(body.trailers);
    return next;
  }

  #refuse(why: Refusal): void {
    this.#isRunning = false;
    this.#taker.refused(why);
  }

  /** Keeps what could not be used yet, and stops reading where more of it would only pile up. */
  #hold(bytes: Buffer, at: number, end: number): void {
    if (at === end) {
      this.#input = undefined;
      this.#at = 0;
      this.#end = 0;
      return;
    }
    if (this.#phase === HEAD) {
      // The bytes of an unfinished head are kept in a buffer of our own, with room to grow.
      if (bytes !== this.#input || at > 0) this.#input = appended(undefined, 0, bytes, at, end);
      this.#at = 0;
      this.#end = end - at;
      if (this.#hasHeadBegun) return;
      this.#hasHeadBegun = true;
      return this.#taker.headBegan();
    }
    if (isLent(bytes)) {
      this.#input = kept(bytes.subarray(at, end));
      this.#at = 0;
      this.#end = end - at;
    } else {
      this.#input = bytes;
      this.#at = at;
      this.#end = end;
    }
    this.#pause();
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#stream.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#stream.resume();
  }
}
