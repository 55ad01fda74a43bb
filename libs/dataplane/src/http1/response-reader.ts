// Reads the response to each request of a connection: interim heads, the final one, its body, or another protocol's bytes.
import type { HeaderList, HttpLimits, ResponseHead } from '../http/exchange.ts';
import { BodyReader } from './body-reader.ts';
import { appended, type ChunkTaker } from './chunked.ts';
import { HeadParser, type ParsedResponse } from './head.ts';
import { latin1 } from './octets.ts';
import { MORE, REFUSED, SectionScanner } from './scan.ts';

/** What a reader tells its connection, and asks of it. Any of these may lead to the reader's `stop`. */
export interface ResponseTaker {
  /** Who takes the body, or the bytes of the protocol switched to; asked for only while there is one. */
  readonly bodyTaker: ChunkTaker;
  /** A head has begun and has not come whole. */
  headBegan(): void;
  /** A head has come. False, after `stop`: it cannot be an answer, since nothing has been asked yet. */
  isAnswer(): boolean;
  /** A 1xx. */
  informed(head: ResponseHead): void;
  /** 101, as asked for. */
  switched(head: ResponseHead): void;
  /** A final head. `endsNow`: it has no body, and the response is over; `more`: and bytes that nobody asked for stand behind it. */
  responded(parsed: ParsedResponse, endsNow: boolean, more: boolean): void;
  /** The body has come whole, and with it the response; `more` as for `responded`. */
  bodyEnded(trailers: HeaderList | undefined, more: boolean): void;
  /** What came is no response that could be read in one way only, or none to this request. */
  broken(detail: string): void;
}

const NOTHING = 0; // nothing may come: no request is under way, or its response is over
const HEAD = 1;
const BODY = 2;
const RAW = 3;
const STOPPED = 4;

/** More 1xx responses than this before one response are an attack (reliability 62). */
const MAX_INFORMS = 32;

/** One response for each `begin`. */
export class ResponseReader {
  readonly #taker: ResponseTaker;
  readonly #scanner: SectionScanner;
  readonly #parser: HeadParser;
  readonly #body: BodyReader;
  #phase = NOTHING;
  #method = '';
  #upgrade: string | undefined;
  #informs = 0;
  /** An unfinished head: the first `#size` octets of `#input`. */
  #input: Buffer | undefined;
  #size = 0;

  constructor(taker: ResponseTaker, limits: HttpLimits) {
    this.#taker = taker;
    this.#scanner = new SectionScanner(limits);
    this.#parser = new HeadParser(this.#scanner, limits.targetBytes);
    this.#body = new BodyReader(this.#scanner, this.#parser);
  }

  /** No response is under way. */
  get isDone(): boolean {
    return this.#phase === NOTHING;
  }

  /** Nothing more is read. */
  get isStopped(): boolean {
    return this.#phase === STOPPED;
  }

  /** Bytes go to a taker, who may hold the stream back. */
  get canPause(): boolean {
    return this.#phase === BODY || this.#phase === RAW;
  }

  /** The body under way ends with the connection. */
  get isUntilClose(): boolean {
    return this.#phase === BODY && this.#body.isUntilClose;
  }

  /** The bytes are another protocol's. */
  get isRaw(): boolean {
    return this.#phase === RAW;
  }

  /** Some of a head has come and some has not. */
  get isInHead(): boolean {
    return this.#input !== undefined;
  }

  /** A response is awaited to a request of this method, which asked for this other protocol, if any. */
  begin(method: string, upgrade: string | undefined): void {
    this.#phase = HEAD;
    this.#method = method;
    this.#upgrade = upgrade;
    this.#informs = 0;
    this.#scanner.reset(true);
  }

  /** Reads nothing any more; what is left of the read at work is nobody's. */
  stop(): void {
    this.#phase = STOPPED;
    this.#input = undefined;
    this.#body.stop();
  }

  /** The connection ended, and with it the body that was to last as long. */
  endOfStream(): void {
    this.#bodyEnded(false);
  }

  /** Takes bytes from the stream. */
  read(chunk: Buffer): void {
    if (this.#input === undefined) this.#run(chunk, 0, chunk.length);
    else this.#run(appended(this.#input, this.#size, chunk, 0, chunk.length), 0, this.#size + chunk.length);
  }

  #run(bytes: Buffer, from: number, end: number): void {
    let at = from;
    while (at < end) {
      if (this.#phase === HEAD) {
        const next = this.#readHead(bytes, at, end);
        if (next === at) return;
        at = next;
      } else if (this.#phase === BODY) {
        const next = this.#body.read(bytes, at, end, this.#taker.bodyTaker);
        if (next === REFUSED) return this.#taker.broken(this.#body.refused.detail);
        at = next;
        if (this.#phase === BODY && this.#body.isDone) this.#bodyEnded(at < end);
      } else if (this.#phase === RAW) return this.#taker.bodyTaker.data(bytes.subarray(at, end));
      // Nobody asked for these bytes: whoever got them next would get another's answer (reliability 62).
      else return this.#phase === NOTHING ? this.#taker.broken('bytes after the response') : undefined;
    }
  }

  /** Where the head ended; `at` itself if it has not come whole, or reading is over. */
  #readHead(bytes: Buffer, at: number, end: number): number {
    const size = this.#scanner.scan(bytes, at, end);
    if (size === MORE) {
      this.#hold(bytes, at, end);
      return at;
    }
    if (size === REFUSED) return this.#break(at, this.#scanner.refused.detail);
    if (!this.#taker.isAnswer()) return at;
    const parsed = this.#parser.response(latin1(bytes, at, at + size), this.#method);
    if (parsed === undefined) return this.#break(at, this.#parser.refused.detail);
    this.#input = undefined;
    this.#scanner.reset(true);
    if (parsed.head.status < 200) return this.#inform(parsed) ? at + size : at;
    this.#respond(parsed, at + size < end);
    return at + size;
  }

  #hold(bytes: Buffer, at: number, end: number): void {
    const isNew = this.#input === undefined || at > 0;
    this.#input = isNew ? appended(undefined, 0, bytes, at, end) : bytes;
    this.#size = end - at;
    if (isNew) this.#taker.headBegan();
  }

  #break(at: number, detail: string): number {
    this.#taker.broken(detail);
    return at;
  }

  /** False: it may not come here. */
  #inform(parsed: ParsedResponse): boolean {
    if (parsed.head.status === 101) {
      if (this.#upgrade === undefined || parsed.upgrade?.toLowerCase() !== this.#upgrade) {
        this.#taker.broken('a switch of protocols that was not asked for');
        return false;
      }
      this.#phase = RAW;
      this.#taker.switched(parsed.head);
      return true;
    }
    if (++this.#informs > MAX_INFORMS) {
      this.#taker.broken('too many interim responses');
      return false;
    }
    this.#taker.informed(parsed.head);
    return true;
  }

  #respond(parsed: ParsedResponse, more: boolean): void {
    const { status, bodyBytes } = parsed.head;
    const endsNow = this.#method === 'HEAD' || status === 304 || status === 204 || (bodyBytes === 0 && !parsed.untilClose);
    if (endsNow) this.#phase = NOTHING;
    else {
      this.#phase = BODY;
      if (parsed.chunked) this.#body.beginChunked();
      else if (parsed.untilClose) this.#body.beginUntilClose();
      else this.#body.beginLength(bodyBytes ?? 0);
    }
    this.#taker.responded(parsed, endsNow, endsNow && more);
  }

  #bodyEnded(more: boolean): void {
    this.#phase = NOTHING;
    this.#scanner.reset(true);
    this.#taker.bodyEnded(this.#body.trailers, more);
  }
}
