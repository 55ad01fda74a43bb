// What both ends of an HTTP/2 connection do alike: frames in and out, windows, settings, resets, the end.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { ByteStream } from '../transport/transport.ts';
import type { Abort, HeaderList, HttpLimits, RequestHead, ResponseHead } from '../http/exchange.ts';
import { FieldBlock } from './field-block.ts';
import { FieldWriter } from './field-writer.ts';
import { FloodGuard } from './flood-guard.ts';
import { FrameReader, type FrameSink } from './frame.ts';
import { DECODED, HpackDecoder } from './hpack/decoder.ts';
import { ResetStreams } from './late-frames.ts';
import { MessageFields } from './message.ts';
import { Output } from './output.ts';
import { DEFAULT_WINDOW_BYTES, ERROR, errorName, FLAG, FRAME, HEAD_BYTES, MAX_STREAM_ID, MAX_WINDOW_BYTES, type Refusal, SETTING } from './protocol.ts';
import type { Stream } from './stream.ts';

/** What a server or a client does with what the connection reads. */
export interface Side {
  /** A whole block of fields, in `fields`; `stream` is undefined for one that is not open. */
  block(id: number, stream: Stream | undefined, isEnd: boolean, fields: MessageFields, result: number): void;
  /** The peer's settings are in force. */
  settled(): void;
  goaway(lastId: number, code: number, detail: string): void;
  /** The answer to the PING that `ping` sent. */
  ponged(): void;
  /** A stream is over, and no longer among `streams`. */
  ended(stream: Stream): void;
  /** Every few seconds. `idleTicks`: ticks since the last frame came. */
  ticked(): void;
  refused(code: Refusal, detail: string): void;
  closed(): void;
}

export type ConnectionOptions = {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  readonly isServer: boolean;
  readonly peer: unknown;
};

/** What may wait in the socket before DATA is held in its streams. */
const UNSENT_BYTES = 262_144;
/** What may wait in the socket, of frames that no window holds back, before the peer counts as one that does not read. */
const UNREAD_BYTES = 2_097_152;
/** The connection's window is so many times a stream's: a few streams whose takers wait do not stop the others. */
const WINDOW_STREAMS = 8;
const LINGER_MS = 1000;
const MAX_LINGER_BYTES = 1_048_576;

// One block is decoded and taken before the next begins, whatever connection it is on.
const fields = new MessageFields();
const NO_BYTES = Buffer.alloc(0);
const PING_BYTES = Buffer.from('isthmus\0', 'latin1');

/** One connection. Its owner is a server or a client, which it calls by `Side`. */
export class Connection implements FrameSink {
  readonly limits: HttpLimits;
  readonly peer: unknown;
  readonly guard: FloodGuard;
  readonly out: Output;
  readonly streams = new Map<number, Stream>();
  readonly tickMs: number;
  readonly #socket: ByteStream;
  readonly #side: Side;
  readonly #clock: Clock;
  readonly #isServer: boolean;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #fieldWriter: FieldWriter;
  /** Counts up by time; streams note it when something moves. */
  tick = 0;
  /** The tick when the last bytes came. */
  readTick = 0;
  /** Highest stream that the peer opened, or for a client that it opened itself. */
  lastId = 0;
  /** The window that new streams give the peer, and that the peer gives new streams. */
  readonly windowBytes: number;
  peerWindowBytes = DEFAULT_WINDOW_BYTES;
  peerStreams = 100;
  peerTakesTunnels = false;
  /** It has acknowledged our settings, or had time enough: until then it may not know how many streams it may open. */
  knowsLimits = false;
  #sendWindow = DEFAULT_WINDOW_BYTES;
  #receiveWindow: number;
  readonly #fullWindow: number;
  #credit = 0;
  /** Streams with DATA that wait for the connection. */
  #line: Stream[] = [];
  #hasSettings = false;
  #isAcknowledged = false;
  readonly #block: FieldBlock;
  #heldFrame: number | undefined;
  #heldTick = 0;
  #dataFlags = 0;
  #dataLength = 0;
  #dataStream: Stream | undefined;
  readonly #resets = new ResetStreams();
  #isPinging = false;
  #isLingering = false;
  #lingeredBytes = 0;
  #timer: TimerHandle;
  isClosed = false;

  constructor(socket: ByteStream, side: Side, options: ConnectionOptions) {
    const { limits, clock } = options;
    this.#socket = socket;
    this.#side = side;
    this.#clock = clock;
    this.#isServer = options.isServer;
    this.limits = limits;
    this.peer = options.peer;
    this.guard = new FloodGuard(clock);
    this.#block = new FieldBlock(limits.headerBytes);
    this.#reader = new FrameReader(this);
    this.#decoder = new HpackDecoder({ tableBytes: 4096, headerBytes: limits.headerBytes, headerCount: limits.headerCount });
    this.out = new Output(socket, () => this.#serveLine());
    this.#fieldWriter = new FieldWriter(this.out);
    // Never less than what the peer may send before it has read our settings.
    this.windowBytes = Math.min(Math.max(limits.bufferBytes, DEFAULT_WINDOW_BYTES), MAX_WINDOW_BYTES / WINDOW_STREAMS);
    this.#fullWindow = this.windowBytes * WINDOW_STREAMS;
    this.#receiveWindow = this.#fullWindow;
    this.tickMs = Math.max(10, Math.min(5000, Math.min(limits.headMs, limits.keepAliveMs, limits.idleMs) / 2));
    this.#timer = this.#arm();
    socket.lend?.();
    socket.on('drain', () => this.#drained());
    socket.on('error', (error: Error) => this.destroy({ reason: 'closed', detail: error.message }));
    socket.on('end', () => this.destroy({ reason: 'closed', detail: 'the other end closed the connection' }));
    socket.on('close', () => this.destroy({ reason: 'closed', detail: 'the connection closed' }));
  }

  /** Sends the settings and opens the connection's window; the owner has written what must stand before. */
  begin(): void {
    const { limits } = this;
    const pairs = [SETTING.initialWindowSize, this.windowBytes, SETTING.maxHeaderListSize, limits.headerBytes];
    if (this.#isServer) pairs.push(SETTING.maxConcurrentStreams, limits.streams, SETTING.enableConnectProtocol, 1);
    else pairs.push(SETTING.enablePush, 0);
    const length = pairs.length * 3;
    let position = this.out.head(this.out.reserve(HEAD_BYTES + length), length, FRAME.settings, 0, 0);
    for (let i = 0; i < pairs.length; i += 2) {
      position = this.out.bytes.writeUInt16BE(pairs[i] as number, position);
      position = this.out.bytes.writeUInt32BE(pairs[i + 1] as number, position);
    }
    this.out.commit(position);
    this.updateWindow(0, this.#fullWindow - DEFAULT_WINDOW_BYTES);
  }

  /** Takes bytes from the socket. */
  read(chunk: Buffer): void {
    if (this.#isLingering) {
      this.#lingeredBytes += chunk.length;
      if (this.#lingeredBytes > MAX_LINGER_BYTES) this.#socket.destroy();
      return;
    }
    if (this.isClosed) return;
    this.readTick = this.tick;
    this.#reader.feed(chunk);
    if (this.out.unsentBytes > UNREAD_BYTES) this.#unread();
  }

  // Frames in.

  frame(type: number, flags: number, id: number, input: Buffer, start: number, end: number): void {
    if (!this.#hasSettings && (type !== FRAME.settings || (flags & FLAG.ack) !== 0)) return this.fail(ERROR.protocol, this.#isServer ? 'h2-preface' : 'h2-protocol', 'SETTINGS must come first');
    if (this.#block.id !== 0 && (type !== FRAME.continuation || id !== this.#block.id)) return this.fail(ERROR.protocol, 'h2-protocol', 'a block of fields was interrupted');
    if (type === FRAME.headers) return this.#headers(flags, id, input, start, end);
    if (type === FRAME.continuation) return this.#continuation(flags, id, input, start, end);
    if (this.guard.control()) return this.fail(ERROR.enhanceYourCalm, 'h2-control-flood', `too many frames of type ${type}`);
    switch (type) {
      case FRAME.windowUpdate:
        return this.#windowUpdate(id, input, start, end);
      case FRAME.rstStream:
        return this.#rstStream(id, input, start, end);
      case FRAME.settings:
        return this.#settings(flags, id, input, start, end);
      case FRAME.ping:
        return this.#ping(flags, id, input, start, end);
      case FRAME.goaway:
        return this.#goaway(id, input, start, end);
      case FRAME.priority:
        return this.#priority(id, input, start, end);
      case FRAME.pushPromise:
        return this.fail(ERROR.protocol, 'h2-protocol', 'PUSH_PROMISE where none is allowed');
      default:
    }
  }

  badFrame(problem: 'too-long' | 'padding', type: number): void {
    if (problem === 'too-long') this.fail(ERROR.frameSize, 'h2-frame-size', `a frame of type ${type} is too long`);
    else this.fail(ERROR.protocol, 'h2-protocol', 'padding is longer than its frame');
  }

  #headers(flags: number, id: number, input: Buffer, start: number, end: number): void {
    if (id === 0) return this.fail(ERROR.protocol, 'h2-protocol', 'HEADERS on stream 0');
    let padding = 0;
    if ((flags & FLAG.padded) !== 0) {
      if (start >= end) return this.fail(ERROR.frameSize, 'h2-frame-size', 'HEADERS too short for its padding');
      padding = input[start++] as number;
    }
    if ((flags & FLAG.priority) !== 0) {
      if (end - start < 5) return this.fail(ERROR.frameSize, 'h2-frame-size', 'HEADERS too short for its priority');
      if ((input.readUInt32BE(start) & 0x7fff_ffff) === id) return this.fail(ERROR.protocol, 'h2-protocol', 'a stream depends on itself');
      start += 5;
    }
    if (padding > end - start) return this.badFrame('padding', FRAME.headers);
    end -= padding;
    if ((flags & FLAG.endHeaders) !== 0) return this.#decode(id, (flags & FLAG.endStream) !== 0, input, start, end);
    this.#block.begin(id, flags, this.tick, input.subarray(start, end));
  }

  #continuation(flags: number, id: number, input: Buffer, start: number, end: number): void {
    const block = this.#block;
    if (id === 0 || block.id === 0) return this.fail(ERROR.protocol, 'h2-protocol', 'CONTINUATION without HEADERS');
    if (!block.add(input.subarray(start, end))) return this.fail(ERROR.enhanceYourCalm, 'h2-continuation-flood', `${block.frames} frames, ${block.bytes} bytes without END_HEADERS`);
    if ((flags & FLAG.endHeaders) === 0) return;
    const isEnd = (block.flags & FLAG.endStream) !== 0;
    const whole = block.take();
    this.#decode(id, isEnd, whole, 0, whole.length);
  }

  #decode(id: number, isEnd: boolean, input: Buffer, start: number, end: number): void {
    fields.reset();
    const result = this.#decoder.decode(input, start, end, fields);
    if (result === DECODED.broken) return this.fail(ERROR.compression, 'h2-compression', 'a block of fields does not decode');
    const stream = this.streams.get(id);
    // Trailers, informational and late heads come on streams that were paid for once.
    if ((stream !== undefined || id <= this.lastId) && this.guard.control()) return this.fail(ERROR.enhanceYourCalm, 'h2-control-flood', 'too many HEADERS for the streams there are');
    this.#side.block(id, stream, isEnd, fields, result);
  }

  dataStart(id: number, flags: number, length: number): void {
    if (!this.#hasSettings || this.#block.id !== 0) return this.fail(ERROR.protocol, 'h2-protocol', 'DATA where none is allowed');
    if (id === 0) return this.fail(ERROR.protocol, 'h2-protocol', 'DATA on stream 0');
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) return this.fail(ERROR.flowControl, 'h2-flow-control', 'DATA past the connection window');
    this.#dataFlags = flags;
    this.#dataLength = length;
    let stream = this.streams.get(id);
    this.#dataStream = undefined;
    if (stream === undefined) {
      if (!this.#isForgiven(id)) return;
    } else if (stream.isRemoteEnded) {
      this.refuseStream(stream, ERROR.streamClosed, 'h2-stream-closed', 'DATA after END_STREAM');
      stream = undefined;
    } else if (!this.#isServer && !stream.hasResponse) {
      this.refuseStream(stream, ERROR.protocol, 'h2-malformed', 'DATA before a response');
      stream = undefined;
    } else {
      stream.receiveWindow -= length;
      if (stream.receiveWindow < 0) {
        this.refuseStream(stream, ERROR.flowControl, 'h2-flow-control', 'DATA past the stream window');
        stream = undefined;
      }
    }
    if (this.isClosed) return;
    this.#dataStream = stream;
    if (length > 0) this.guard.useful();
    else if ((flags & FLAG.endStream) === 0 && this.guard.empty()) this.fail(ERROR.enhanceYourCalm, 'h2-empty-flood', 'too many empty DATA frames');
  }

  dataPart(input: Buffer, start: number, end: number): void {
    const stream = this.#dataStream;
    this.#dataLength -= end - start;
    if (stream === undefined || stream.isGone) return this.giveBack(end - start);
    stream.movedTick = this.tick;
    if (stream.restBytes >= 0) {
      stream.restBytes -= end - start;
      if (stream.restBytes < 0) {
        this.giveBack(end - start);
        return this.refuseStream(stream, ERROR.protocol, 'h2-malformed', 'more body than content-length says');
      }
    }
    stream.take(start === 0 && end === input.length ? input : input.subarray(start, end));
  }

  dataEnd(): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    // Padding is given back at once: nobody takes it.
    if (this.#dataLength > 0) {
      if (stream === undefined || stream.isGone) this.giveBack(this.#dataLength);
      else stream.giveBack(this.#dataLength);
    }
    if (stream === undefined || stream.isGone || (this.#dataFlags & FLAG.endStream) === 0) return;
    this.endOf(stream, undefined);
  }

  /** The peer's half of a stream ended. */
  endOf(stream: Stream, trailers: HeaderList | undefined): void {
    if (stream.restBytes > 0) return this.refuseStream(stream, ERROR.protocol, 'h2-malformed', 'less body than content-length says');
    stream.takeEnd(trailers);
    this.settle(stream);
  }

  /** Whether a frame on a stream that is not open is only late; ends the connection if it is wrong. RFC 9113 §5.1. */
  #isForgiven(id: number): boolean {
    if (this.isIdle(id)) {
      this.fail(ERROR.protocol, 'h2-protocol', 'a frame on an idle stream');
      return false;
    }
    if (this.wasReset(id)) return true;
    this.fail(ERROR.streamClosed, 'h2-stream-closed', 'a frame on a closed stream');
    return false;
  }

  /** Nobody has opened this stream yet. */
  isIdle(id: number): boolean {
    return id > this.lastId || (id & 1) === 0;
  }

  /** It was reset here not long ago, so that the peer may not know. */
  wasReset(id: number): boolean {
    return this.#resets.has(id);
  }

  #windowUpdate(id: number, input: Buffer, start: number, end: number): void {
    if (end - start !== 4) return this.fail(ERROR.frameSize, 'h2-frame-size', 'WINDOW_UPDATE has four octets');
    const count = input.readUInt32BE(start) & 0x7fff_ffff;
    // A stream error at least; no honest peer does it, and it is one of the cheap ways to make us reset streams.
    if (count === 0) return this.fail(ERROR.protocol, 'h2-flow-control', 'WINDOW_UPDATE by 0');
    if (id === 0) {
      this.#sendWindow += count;
      if (this.#sendWindow > MAX_WINDOW_BYTES) return this.fail(ERROR.flowControl, 'h2-flow-control', 'the connection window overflows');
      return this.#serveLine();
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.isIdle(id)) this.fail(ERROR.protocol, 'h2-protocol', 'WINDOW_UPDATE on an idle stream');
      return;
    }
    stream.sendWindow += count;
    if (stream.sendWindow > MAX_WINDOW_BYTES) return this.refuseStream(stream, ERROR.flowControl, 'h2-flow-control', 'the stream window overflows');
    stream.pump(Number.POSITIVE_INFINITY);
  }

  #rstStream(id: number, input: Buffer, start: number, end: number): void {
    if (id === 0) return this.fail(ERROR.protocol, 'h2-protocol', 'RST_STREAM on stream 0');
    if (end - start !== 4) return this.fail(ERROR.frameSize, 'h2-frame-size', 'RST_STREAM has four octets');
    if (this.isIdle(id)) return this.fail(ERROR.protocol, 'h2-protocol', 'RST_STREAM on an idle stream');
    const stream = this.streams.get(id);
    if (stream === undefined) return this.#resets.delete(id);
    const code = input.readUInt32BE(start);
    if (!this.#isServer && stream.isRemoteEnded) {
      stream.stopSending();
      return this.settle(stream);
    }
    this.streams.delete(id);
    stream.fail({ reason: code === ERROR.refusedStream ? 'unprocessed' : code === ERROR.cancel && this.#isServer ? 'cancelled' : 'reset', detail: `RST_STREAM ${errorName(code)}` });
    this.#side.ended(stream);
    if (this.#isServer && this.guard.reset()) this.fail(ERROR.enhanceYourCalm, 'h2-rapid-reset', 'too many streams were reset');
  }

  #settings(flags: number, id: number, input: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fail(ERROR.protocol, 'h2-protocol', 'SETTINGS on a stream');
    if ((flags & FLAG.ack) !== 0) {
      if (start !== end) this.fail(ERROR.frameSize, 'h2-frame-size', 'a SETTINGS ack is empty');
      this.#isAcknowledged = true;
      this.knowsLimits = true;
      return;
    }
    if ((end - start) % 6 !== 0) return this.fail(ERROR.frameSize, 'h2-frame-size', 'SETTINGS come in sixes');
    const oldBytes = this.peerWindowBytes;
    for (let at = start; at < end && !this.isClosed; at += 6) this.#setting(input.readUInt16BE(at), input.readUInt32BE(at + 2));
    if (this.isClosed) return;
    this.#hasSettings = true;
    this.out.commit(this.out.head(this.out.reserve(HEAD_BYTES), 0, FRAME.settings, FLAG.ack, 0));
    // Behind the acknowledgement, so that the peer knows by which settings it was sent.
    if (this.peerWindowBytes > oldBytes) for (const stream of [...this.streams.values()]) stream.pump(Number.POSITIVE_INFINITY);
    if (!this.isClosed) this.#side.settled();
  }

  /** RFC 9113 §6.5.2. */
  #setting(name: number, value: number): void {
    if (name === SETTING.headerTableSize) this.#fieldWriter.resizeTable(value);
    else if (name === SETTING.enablePush) {
      if (value > 1 || (value === 1 && !this.#isServer)) this.fail(ERROR.protocol, 'h2-protocol', 'ENABLE_PUSH is wrong');
    } else if (name === SETTING.maxConcurrentStreams) this.peerStreams = value;
    else if (name === SETTING.initialWindowSize) this.#resizeWindows(value);
    else if (name === SETTING.maxFrameSize) {
      if (value < 16_384 || value > 0xff_ffff) this.fail(ERROR.protocol, 'h2-protocol', 'MAX_FRAME_SIZE is wrong');
      else this.#fieldWriter.frameBytes = value;
    } else if (name === SETTING.enableConnectProtocol) {
      if (value > 1) this.fail(ERROR.protocol, 'h2-protocol', 'ENABLE_CONNECT_PROTOCOL is wrong');
      else this.peerTakesTunnels = value === 1;
    }
  }

  #resizeWindows(bytes: number): void {
    if (bytes > MAX_WINDOW_BYTES) return this.fail(ERROR.flowControl, 'h2-flow-control', 'INITIAL_WINDOW_SIZE is wrong');
    const grown = bytes - this.peerWindowBytes;
    this.peerWindowBytes = bytes;
    for (const stream of this.streams.values()) {
      stream.sendWindow += grown;
      if (stream.sendWindow > MAX_WINDOW_BYTES) return this.fail(ERROR.flowControl, 'h2-flow-control', 'a stream window overflows');
    }
  }

  #ping(flags: number, id: number, input: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fail(ERROR.protocol, 'h2-protocol', 'PING on a stream');
    if (end - start !== 8) return this.fail(ERROR.frameSize, 'h2-frame-size', 'PING has eight octets');
    if ((flags & FLAG.ack) === 0) return this.out.frame(FRAME.ping, FLAG.ack, 0, input, start, end);
    if (!this.#isPinging) return;
    this.#isPinging = false;
    this.#side.ponged();
  }

  #goaway(id: number, input: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fail(ERROR.protocol, 'h2-protocol', 'GOAWAY on a stream');
    if (end - start < 8) return this.fail(ERROR.frameSize, 'h2-frame-size', 'GOAWAY has at least eight octets');
    const code = input.readUInt32BE(start + 4);
    const text = input.toString('latin1', start + 8, Math.min(end, start + 8 + 128)).replace(/[^\x20-\x7e]/g, '?');
    this.#side.goaway(input.readUInt32BE(start) & MAX_STREAM_ID, code, `GOAWAY ${errorName(code)}${text === '' ? '' : `: ${text}`}`);
  }

  #priority(id: number, input: Buffer, start: number, end: number): void {
    if (id === 0) return this.fail(ERROR.protocol, 'h2-protocol', 'PRIORITY on stream 0');
    const stream = this.streams.get(id);
    if (end - start !== 5) {
      if (stream === undefined) this.fail(ERROR.frameSize, 'h2-frame-size', 'PRIORITY has five octets');
      else this.refuseStream(stream, ERROR.frameSize, 'h2-frame-size', 'PRIORITY has five octets');
    } else if ((input.readUInt32BE(start) & 0x7fff_ffff) === id) {
      if (stream === undefined) this.fail(ERROR.protocol, 'h2-protocol', 'a stream depends on itself');
      else this.refuseStream(stream, ERROR.protocol, 'h2-protocol', 'a stream depends on itself');
    }
  }

  // Frames out.

  sendRequest(stream: Stream, head: RequestHead, endsNow: boolean): void {
    this.#fieldWriter.request(stream.id, head, endsNow);
    stream.sentAt = this.out.writtenBytes;
  }

  sendResponse(stream: Stream, head: ResponseHead, endsNow: boolean): void {
    stream.movedTick = this.tick;
    this.#fieldWriter.response(stream.id, head, endsNow);
  }

  /** END_STREAM: on the last frame if it has not left yet, else by trailers or an empty DATA. */
  sendEnd(stream: Stream, trailers: HeaderList | undefined): void {
    stream.movedTick = this.tick;
    if (trailers !== undefined && trailers.length > 0) this.#fieldWriter.trailers(stream.id, trailers);
    else if (!this.out.endLast(stream.id)) this.out.frame(FRAME.data, FLAG.endStream, stream.id, NO_BYTES, 0, 0);
  }

  /** Bytes of DATA that may go out on this stream now, in one frame. */
  sendable(stream: Stream): number {
    if (this.out.isCongested || this.out.pendingBytes > UNSENT_BYTES) return 0;
    return Math.min(stream.sendWindow, this.#sendWindow, this.#fieldWriter.frameBytes);
  }

  canSend(stream: Stream, length: number): boolean {
    return length <= this.#sendWindow && length <= stream.sendWindow && length <= this.#fieldWriter.frameBytes && !this.out.isCongested && this.out.pendingBytes <= UNSENT_BYTES;
  }

  /** One DATA frame; windows have been asked. */
  sendData(stream: Stream, chunk: Buffer, isEnd: boolean): void {
    const { length } = chunk;
    stream.movedTick = this.tick;
    stream.sendWindow -= length;
    this.#sendWindow -= length;
    this.guard.useful();
    this.out.frame(FRAME.data, isEnd ? FLAG.endStream : 0, stream.id, chunk, 0, length);
  }

  lineUp(stream: Stream): void {
    if (stream.isInLine) return;
    stream.isInLine = true;
    this.#line.push(stream);
  }

  /** Streams that waited for the connection go on, a frame each in turn. */
  #serveLine(): void {
    while (this.#line.length > 0 && this.#sendWindow > 0 && !this.out.isCongested && this.out.pendingBytes <= UNSENT_BYTES) {
      const line = this.#line;
      this.#line = [];
      for (const stream of line) {
        stream.isInLine = false;
        stream.pump(1);
      }
    }
  }

  #drained(): void {
    this.out.isCongested = false;
    this.#serveLine();
  }

  updateWindow(id: number, count: number): void {
    if (!this.isClosed) this.out.word(FRAME.windowUpdate, id, count);
  }

  /** Bytes of any stream were taken. */
  giveBack(count: number): void {
    this.#credit += count;
    if (this.#credit * 2 < this.#fullWindow) return;
    this.#receiveWindow += this.#credit;
    this.updateWindow(0, this.#credit);
    this.#credit = 0;
  }

  /** A PING whose answer goes to `Side.ponged`; false while one is under way. */
  ping(): boolean {
    if (this.#isPinging || this.isClosed) return false;
    this.#isPinging = true;
    this.out.frame(FRAME.ping, 0, 0, PING_BYTES, 0, 8);
    return true;
  }

  get isPinging(): boolean {
    return this.#isPinging;
  }

  // Ends.

  /** Takes a stream out once both halves are over and its body was taken. */
  settle(stream: Stream): void {
    const { isLocalEnded, isRemoteEnded } = stream;
    if (stream.isGone || (!isLocalEnded && !isRemoteEnded)) return;
    if (isLocalEnded && isRemoteEnded) {
      // Its body may not have been taken yet: what waits is the stream's own.
      if (this.streams.delete(stream.id)) this.#side.ended(stream);
    } else if (stream.isTunnel || isLocalEnded !== this.#isServer) return;
    // A response is complete, and what is left of its request has no reader. RFC 9113 §8.1.
    else if (this.#isServer) this.reset(stream, ERROR.none, { reason: 'cancelled', detail: 'the response ended before the request' });
    else if (stream.isTaken) this.reset(stream, ERROR.none);
  }

  /** RST_STREAM from here. `why` is told to those who still listen to the stream. */
  reset(stream: Stream, code: number, why: Abort = { reason: 'cancelled', detail: `RST_STREAM ${errorName(code)} sent` }): void {
    const wasOpen = this.streams.delete(stream.id);
    if (wasOpen && !this.isClosed) {
      this.sendReset(stream.id, code);
    }
    if (code === ERROR.none) stream.onAbort = undefined;
    stream.fail(why);
    if (wasOpen) this.#side.ended(stream);
  }

  /** Its late frames are forgiven. */
  remember(id: number): void {
    this.#resets.add(id);
  }

  /** A stream error: the peer broke a rule on one stream. Counted, since a peer can provoke it at will. RFC 9113 §5.4.2. */
  refuseStream(stream: Stream, code: number, refusal: Refusal, detail: string): void {
    this.#side.refused(refusal, detail);
    this.reset(stream, code, { reason: 'protocol', detail });
    this.countReset();
  }

  /** RST_STREAM for a stream that never was; ends the connection when it is one too many. */
  rejectId(id: number, code: number, refusal: Refusal, detail: string): void {
    this.#side.refused(refusal, detail);
    this.sendReset(id, code);
    this.countReset();
  }

  sendReset(id: number, code: number): void {
    this.out.word(FRAME.rstStream, id, code);
    this.remember(id);
  }

  /** A peer made us reset once more (CVE-2025-8671). */
  countReset(): void {
    if (this.#isServer && this.guard.reset()) this.fail(ERROR.enhanceYourCalm, 'h2-rapid-reset', 'too many streams had to be reset');
  }

  sendGoaway(lastId: number, code: number, detail = ''): void {
    const text = Buffer.from(detail.slice(0, 128), 'latin1');
    const position = this.out.head(this.out.reserve(HEAD_BYTES + 8 + text.length), 8 + text.length, FRAME.goaway, 0, 0);
    this.out.bytes.writeUInt32BE(lastId, position);
    this.out.bytes.writeUInt32BE(code, position + 4);
    text.copy(this.out.bytes, position + 8);
    this.out.commit(position + 8 + text.length);
  }

  /** A connection error: GOAWAY, then the end of everything. RFC 9113 §5.4.1. */
  fail(code: number, refusal: Refusal, detail: string): void {
    if (this.isClosed) return;
    this.#side.refused(refusal, detail);
    this.sendGoaway(this.#isServer ? this.lastId : 0, code, detail);
    this.close({ reason: 'protocol', detail });
  }

  #unread(): void {
    if (this.isClosed) return;
    this.#side.refused('h2-unread', `${this.out.unsentBytes} bytes wait for the other end to read`);
    this.destroy({ reason: 'closed', detail: 'the other end does not read' });
  }

  /** Sends what is written and closes. Reads on for a moment, or the kernel would answer late bytes by a reset that overtakes it. */
  close(why: Abort): void {
    if (this.isClosed) return;
    this.out.flush();
    this.#end(why);
    this.#isLingering = true;
    this.#socket.end();
    this.#socket.resume();
    this.#timer = this.#clock.setTimer(LINGER_MS, () => this.#socket.destroy());
  }

  /** Closes at once. */
  destroy(why: Abort): void {
    if (!this.isClosed) this.#end(why);
    this.#isLingering = false;
    this.#timer.cancel();
    this.#socket.destroy();
  }

  #end(why: Abort): void {
    this.isClosed = true;
    this.#reader.stop();
    this.#timer.cancel();
    this.#line = [];
    this.#block.drop();
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const stream of streams) {
      stream.fail(!this.#isServer && stream.sentAt > this.out.flushedBytes ? { reason: 'not-sent', detail: why.detail } : why);
      this.#side.ended(stream);
    }
    this.out.close();
    this.#side.closed();
  }

  #arm(): TimerHandle {
    return this.#clock.setTimer(this.tickMs, () => {
      this.tick++;
      this.guard.tick();
      this.#checkIdle();
      if (this.isClosed) return;
      this.#side.ticked();
      if (!this.isClosed) this.#timer = this.#arm();
    });
  }

  #checkIdle(): void {
    const idleTicks = Math.ceil(this.limits.idleMs / this.tickMs) + 1;
    const headTicks = Math.ceil(this.limits.headMs / this.tickMs) + 1;
    if (!this.#isAcknowledged && this.tick >= headTicks) {
      this.knowsLimits = true;
      // A busy client may read for long before it writes: while its streams move it is let be.
      if (!this.#hasSettings || !this.#isMoving(headTicks)) return this.fail(ERROR.settingsTimeout, 'h2-head-timeout', 'no SETTINGS, or none acknowledged, in time');
    }
    const { held } = this.#reader;
    if (held === undefined || held !== this.#heldFrame) {
      this.#heldFrame = held;
      this.#heldTick = this.tick;
    } else if (this.tick - this.#heldTick >= headTicks) return this.fail(ERROR.enhanceYourCalm, 'h2-head-timeout', 'a frame did not end in time');
    if (this.#block.id !== 0 && this.tick - this.#block.tick >= headTicks) return this.fail(ERROR.enhanceYourCalm, 'h2-head-timeout', 'a block of fields did not end in time');
    if (this.tick < idleTicks) return;
    for (const stream of [...this.streams.values()]) {
      if (this.tick - stream.movedTick < idleTicks) continue;
      this.#side.refused('h2-idle-timeout', 'no byte of the stream moved');
      this.reset(stream, ERROR.cancel, { reason: 'timeout', detail: 'no byte of the stream moved' });
      if (this.isClosed) return;
    }
  }

  #isMoving(withinTicks: number): boolean {
    for (const stream of this.streams.values()) if (this.tick - stream.movedTick < withinTicks) return true;
    return false;
  }
}
