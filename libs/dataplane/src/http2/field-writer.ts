// Writes heads and trailers: fields compressed straight into the output, in as many frames as the peer's limit makes necessary.
import type { HeaderList, RequestHead, ResponseHead } from '../http/exchange.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { encodedBound, encodeFields, encodeRequest, encodeResponse } from './message.ts';
import type { Output } from './output.ts';
import { FLAG, FRAME, HEAD_BYTES } from './protocol.ts';
import type { PeerSettings } from './settings.ts';

/** One for each connection: compression has a memory of what was said before. */
export class FieldWriter {
  readonly #out: Output;
  readonly #settings: PeerSettings;
  readonly #encoder = new HpackEncoder();

  /** `settings`: the peer's, whose frame size is kept. */
  constructor(out: Output, settings: PeerSettings) {
    this.#out = out;
    this.#settings = settings;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  resizeTable(bytes: number): void {
    this.#encoder.resize(bytes);
  }

  request(id: number, head: RequestHead, endsNow: boolean): void {
    const start = this.#begin(encodedBound(head.headers, head.method.length + head.target.length + head.authority.length + (head.upgrade?.length ?? 0)));
    const { bytes } = this.#out;
    this.#end(id, endsNow, start, encodeRequest(this.#encoder, head, endsNow, bytes, this.#encoder.begin(bytes, start)));
  }

  response(id: number, head: ResponseHead, endsNow: boolean): void {
    const start = this.#begin(encodedBound(head.headers, 0));
    const { bytes } = this.#out;
    this.#end(id, endsNow, start, encodeResponse(this.#encoder, head, endsNow, bytes, this.#encoder.begin(bytes, start)));
  }

  trailers(id: number, trailers: HeaderList): void {
    const start = this.#begin(encodedBound(trailers, 0));
    const { bytes } = this.#out;
    this.#end(id, true, start, encodeFields(this.#encoder, trailers, bytes, this.#encoder.begin(bytes, start)));
  }

  /** Leaves room for the frame's head and returns where the block begins. */
  #begin(bound: number): number {
    return this.#out.reserve(HEAD_BYTES + bound) + HEAD_BYTES;
  }

  #end(id: number, isEnd: boolean, start: number, end: number): void {
    const out = this.#out;
    const at = start - HEAD_BYTES;
    const { frameBytes } = this.#settings;
    if (end - start <= frameBytes) {
      out.head(at, end - start, FRAME.headers, isEnd ? FLAG.endHeaders | FLAG.endStream : FLAG.endHeaders, id);
      out.commit(end);
      if (!isEnd) out.mark(id, at);
      return;
    }
    const block = Buffer.from(out.bytes.subarray(start, end));
    for (let from = 0; from < block.length; from += frameBytes) {
      const to = Math.min(block.length, from + frameBytes);
      const flags = (from === 0 && isEnd ? FLAG.endStream : 0) | (to === block.length ? FLAG.endHeaders : 0);
      out.frame(from === 0 ? FRAME.headers : FRAME.continuation, flags, id, block, from, to);
    }
    // END_STREAM belongs on HEADERS, which is not the last frame here.
    out.mark(0, 0);
  }
}
