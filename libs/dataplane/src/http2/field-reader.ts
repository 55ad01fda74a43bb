// Reads heads and trailers: HEADERS and the CONTINUATION behind it, put together and decompressed. RFC 9113 §4.3, §6.2, §6.10.
import type { HttpLimits } from '../http/exchange.ts';
import { FieldBlock } from './field-block.ts';
import { DECODED, HpackDecoder } from './hpack/decoder.ts';
import { MessageFields } from './message.ts';
import { type Breach, breach, ERROR, FLAG } from './protocol.ts';

/** Octets of HEADERS that say of what it depends: they count for nothing any more, but are there. RFC 9113 §5.3.2. */
const PRIORITY_BYTES = 5;
const TABLE_BYTES = 4096;

// One block is decoded and taken before the next begins, whatever connection it is on.
const fields = new MessageFields();

/** One for each connection: compression has a memory of what was said before. */
export class FieldReader {
  /** The fields of the last whole block, whatever its message. Good until any connection reads the next one. */
  readonly fields: MessageFields = fields;
  /** How the last whole block was decoded: one of `DECODED`, but `broken`. */
  result: number = DECODED.ok;
  /** Nothing follows the last whole block on its stream. */
  isEnd = false;
  readonly #decoder: HpackDecoder;
  readonly #block: FieldBlock;

  constructor(limits: HttpLimits) {
    this.#decoder = new HpackDecoder({ tableBytes: TABLE_BYTES, headerBytes: limits.headerBytes, headerCount: limits.headerCount });
    this.#block = new FieldBlock(limits.headerBytes);
  }

  /** The stream whose CONTINUATION must come next, before any other frame; 0: none, the last block is whole. */
  get openId(): number {
    return this.#block.id;
  }

  /** The tick when the block that is not whole began. */
  get openTick(): number {
    return this.#block.tick;
  }

  /** HEADERS: a whole block, unless `openId` says that more of it must come. */
  headers(flags: number, id: number, input: Buffer, start: number, end: number, tick: number): Breach | undefined {
    let paddingBytes = 0;
    if ((flags & FLAG.padded) !== 0) {
      if (start >= end) return breach(ERROR.frameSize, 'h2-frame-size', 'HEADERS too short for its padding');
      paddingBytes = input[start++] as number;
    }
    if ((flags & FLAG.priority) !== 0) {
      if (end - start < PRIORITY_BYTES) return breach(ERROR.frameSize, 'h2-frame-size', 'HEADERS too short for its priority');
      if ((input.readUInt32BE(start) & 0x7fff_ffff) === id) return breach(ERROR.protocol, 'h2-protocol', 'a stream depends on itself');
      start += PRIORITY_BYTES;
    }
    if (paddingBytes > end - start) return breach(ERROR.protocol, 'h2-protocol', 'padding is longer than its frame');
    end -= paddingBytes;
    if ((flags & FLAG.endHeaders) !== 0) return this.#decode((flags & FLAG.endStream) !== 0, input, start, end);
    this.#block.begin(id, flags, tick, input.subarray(start, end));
    return undefined;
  }

  /** CONTINUATION of the block on stream `openId`; as for `headers`. */
  continuation(flags: number, input: Buffer, start: number, end: number): Breach | undefined {
    const block = this.#block;
    if (block.id === 0) return breach(ERROR.protocol, 'h2-protocol', 'CONTINUATION without HEADERS');
    if (!block.add(input.subarray(start, end))) return breach(ERROR.enhanceYourCalm, 'h2-continuation-flood', `${block.frames} frames, ${block.bytes} bytes without END_HEADERS`);
    if ((flags & FLAG.endHeaders) === 0) return undefined;
    const isEnd = (block.flags & FLAG.endStream) !== 0;
    const whole = block.take();
    return this.#decode(isEnd, whole, 0, whole.length);
  }

  /** Lets go of a block that is not whole. */
  drop(): void {
    this.#block.drop();
  }

  #decode(isEnd: boolean, input: Buffer, start: number, end: number): Breach | undefined {
    fields.reset();
    this.isEnd = isEnd;
    this.result = this.#decoder.decode(input, start, end, fields);
    return this.result === DECODED.broken ? breach(ERROR.compression, 'h2-compression', 'a block of fields does not decode') : undefined;
  }
}
