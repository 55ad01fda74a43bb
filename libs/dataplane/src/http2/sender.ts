// What a connection sends, frame by frame: control frames at once, DATA as the windows and the socket let it through.
import type { HeaderList, RequestHead, ResponseHead } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { FieldWriter } from './field-writer.ts';
import type { FloodGuard } from './flood-guard.ts';
import { Output } from './output.ts';
import { FLAG, FRAME, HEAD_BYTES, PREFACE } from './protocol.ts';
import type { PeerSettings } from './settings.ts';
import type { Stream } from './stream.ts';
import type { Ticks } from './ticks.ts';
import type { Windows } from './windows.ts';

/** What may wait in the socket before DATA is held in its streams. */
const UNSENT_BYTES = 262_144;
const MAX_DETAIL_BYTES = 128;

const NO_BYTES = Buffer.alloc(0);
const PING_BYTES = Buffer.from('isthmus\0', 'latin1');

/** What a sender looks at, and others change: the connection's windows, what the peer has set, the time. */
export type SenderState = {
  readonly windows: Windows;
  readonly settings: PeerSettings;
  readonly guard: FloodGuard;
  readonly ticks: Ticks;
};

/** Writes for all streams of a connection, and lines up those that wait for the connection. */
export class Sender {
  readonly #out: Output;
  readonly #windows: Windows;
  readonly #settings: PeerSettings;
  readonly #guard: FloodGuard;
  readonly #ticks: Ticks;
  readonly #fields: FieldWriter;
  /** Streams with DATA that wait for the connection's window or its socket. */
  #line: Stream[] = [];

  constructor(socket: ByteStream, state: SenderState) {
    this.#windows = state.windows;
    this.#settings = state.settings;
    this.#guard = state.guard;
    this.#ticks = state.ticks;
    this.#out = new Output(socket, () => this.serveLine());
    this.#fields = new FieldWriter(this.#out, state.settings);
    socket.on('drain', () => {
      this.#out.isCongested = false;
      this.serveLine();
    });
  }

  /** Bytes not yet taken by the kernel. */
  get unsentBytes(): number {
    return this.#out.unsentBytes;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  resizeTable(bytes: number): void {
    this.#fields.resizeTable(bytes);
  }

  // Messages.

  request(stream: Stream, head: RequestHead, endsNow: boolean): void {
    this.#fields.request(stream.id, head, endsNow);
    stream.sentAt = this.#out.writtenBytes;
  }

  /** Whether some of the request may have left: `sentAt` is where its head ended. */
  mayHaveLeft(stream: Stream): boolean {
    return stream.sentAt <= this.#out.flushedBytes;
  }

  response(stream: Stream, head: ResponseHead, endsNow: boolean): void {
    stream.movedTick = this.#ticks.now;
    this.#fields.response(stream.id, head, endsNow);
  }

  /** END_STREAM: on the last frame if it has not left yet, else by trailers or an empty DATA. */
  end(stream: Stream, trailers: HeaderList | undefined): void {
    stream.movedTick = this.#ticks.now;
    if (trailers !== undefined && trailers.length > 0) this.#fields.trailers(stream.id, trailers);
    else if (!this.#out.endLast(stream.id)) this.#out.frame(FRAME.data, FLAG.endStream, stream.id, NO_BYTES, 0, 0);
  }

  /** Bytes of DATA that may go out on this stream now, in one frame. */
  sendableBytes(stream: Stream): number {
    return this.#isHeld() ? 0 : Math.min(stream.windows.sendBytes, this.#windows.sendBytes, this.#settings.frameBytes);
  }

  /** Whether so many bytes may go out on this stream now, in one frame. */
  canSend(stream: Stream, bytes: number): boolean {
    return bytes <= this.#windows.sendBytes && bytes <= stream.windows.sendBytes && bytes <= this.#settings.frameBytes && !this.#isHeld();
  }

  /** One DATA frame; windows have been asked. */
  data(stream: Stream, chunk: Buffer, isEnd: boolean): void {
    const { length } = chunk;
    stream.movedTick = this.#ticks.now;
    stream.windows.spend(length);
    this.#windows.spend(length);
    this.#guard.useful();
    this.#out.frame(FRAME.data, isEnd ? FLAG.endStream : 0, stream.id, chunk, 0, length);
  }

  /** The stream is pumped when the connection can send again. */
  lineUp(stream: Stream): void {
    if (stream.isInLine) return;
    stream.isInLine = true;
    this.#line.push(stream);
  }

  /** Streams that waited for the connection go on, a frame each in turn. */
  serveLine(): void {
    while (this.#line.length > 0 && this.#windows.sendBytes > 0 && !this.#isHeld()) {
      const line = this.#line;
      this.#line = [];
      for (const stream of line) {
        stream.isInLine = false;
        stream.pump(1);
      }
    }
  }

  #isHeld(): boolean {
    return this.#out.isCongested || this.#out.pendingBytes > UNSENT_BYTES;
  }

  // Control frames.

  /** What a client says before all else. RFC 9113 §3.4. */
  preface(): void {
    const position = this.#out.reserve(PREFACE.length);
    PREFACE.copy(this.#out.bytes, position);
    this.#out.commit(position + PREFACE.length);
  }

  /** `pairs`: name, value, name, value. */
  settings(pairs: readonly number[]): void {
    const out = this.#out;
    const length = pairs.length * 3;
    let position = out.head(out.reserve(HEAD_BYTES + length), length, FRAME.settings, 0, 0);
    for (let i = 0; i < pairs.length; i += 2) {
      position = out.bytes.writeUInt16BE(pairs[i] as number, position);
      position = out.bytes.writeUInt32BE(pairs[i + 1] as number, position);
    }
    out.commit(position);
  }

  acknowledgeSettings(): void {
    this.#out.commit(this.#out.head(this.#out.reserve(HEAD_BYTES), 0, FRAME.settings, FLAG.ack, 0));
  }

  /** The peer may send so many bytes more, on a stream or for `id` 0 in all. */
  updateWindow(id: number, bytes: number): void {
    this.#out.word(FRAME.windowUpdate, id, bytes);
  }

  reset(id: number, code: number): void {
    this.#out.word(FRAME.rstStream, id, code);
  }

  ping(): void {
    this.#out.frame(FRAME.ping, 0, 0, PING_BYTES, 0, PING_BYTES.length);
  }

  /** The answer to the PING whose payload is `input[start, end)`. */
  pong(input: Buffer, start: number, end: number): void {
    this.#out.frame(FRAME.ping, FLAG.ack, 0, input, start, end);
  }

  goaway(lastId: number, code: number, detail: string): void {
    const out = this.#out;
    const text = Buffer.from(detail.slice(0, MAX_DETAIL_BYTES), 'latin1');
    const position = out.head(out.reserve(HEAD_BYTES + 8 + text.length), 8 + text.length, FRAME.goaway, 0, 0);
    out.bytes.writeUInt32BE(lastId, position);
    out.bytes.writeUInt32BE(code, position + 4);
    text.copy(out.bytes, position + 8);
    out.commit(position + 8 + text.length);
  }

  // The end.

  /** Hands what is written to the socket. */
  flush(): void {
    this.#out.flush();
  }

  /** Lets go of all that has not left. */
  close(): void {
    this.#line = [];
    this.#out.close();
  }
}
