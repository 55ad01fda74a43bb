// What a connection reads, frame by frame: each held against the rules, then given to its stream or its side. RFC 9113 §5 and §6.
import type { Connection, Side } from './connection.ts';
import { FieldReader } from './field-reader.ts';
import { FrameReader, type FrameSink } from './frame.ts';
import { frameBreach } from './frame-rules.ts';
import { type Breach, breach, ERROR, errorName, FLAG, FRAME, MAX_STREAM_ID, SETTING } from './protocol.ts';
import type { Stream } from './stream.ts';

const MAX_DETAIL_BYTES = 128;

/** Reads for one connection. A breach ends the connection, or where the RFC calls it a stream error its stream. */
export class Receiver implements FrameSink {
  readonly #connection: Connection;
  readonly #side: Side;
  readonly #isServer: boolean;
  readonly #reader: FrameReader;
  readonly #fields: FieldReader;
  /** The frame that is not whole, by the reader's count, and the tick when it was first seen so. */
  #heldFrame: number | undefined;
  #heldTick = 0;
  /** The DATA frame under way: its flags, what of its length has not come, and whose it is; undefined: nobody takes it. */
  #dataFlags = 0;
  #dataRestBytes = 0;
  #dataStream: Stream | undefined;

  constructor(connection: Connection, side: Side, isServer: boolean) {
    this.#connection = connection;
    this.#side = side;
    this.#isServer = isServer;
    this.#reader = new FrameReader(this);
    this.#fields = new FieldReader(connection.limits);
  }

  /** Takes bytes from the socket. */
  read(chunk: Buffer): void {
    this.#reader.feed(chunk);
  }

  /** Ignores all further bytes, also those of the chunk being read. */
  stop(): void {
    this.#reader.stop();
    this.#fields.drop();
  }

  /** What the peer owes for too long: to be asked at each tick. */
  overdue(): Breach | undefined {
    const { ticks, settings } = this.#connection;
    if (!settings.hasOurs && ticks.isLate(0)) {
      settings.knowsOurs = true;
      // A busy client may read for long before it writes: while its streams move it is let be.
      if (!settings.hasCome || !this.#isAnyMoving()) return breach(ERROR.settingsTimeout, 'h2-head-timeout', 'no SETTINGS, or none acknowledged, in time');
    }
    const { held } = this.#reader;
    if (held === undefined || held !== this.#heldFrame) {
      this.#heldFrame = held;
      this.#heldTick = ticks.now;
    } else if (ticks.isLate(this.#heldTick)) return breach(ERROR.enhanceYourCalm, 'h2-head-timeout', 'a frame did not end in time');
    if (this.#fields.openId !== 0 && ticks.isLate(this.#fields.openTick)) return breach(ERROR.enhanceYourCalm, 'h2-head-timeout', 'a block of fields did not end in time');
    return undefined;
  }

  #isAnyMoving(): boolean {
    const { ticks, streams } = this.#connection;
    return streams.all().some((stream) => !ticks.isLate(stream.movedTick));
  }

  // Whole frames.

  frame(type: number, flags: number, id: number, input: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    const { openId } = this.#fields;
    const isOfBlock = type === FRAME.headers || type === FRAME.continuation;
    if (!connection.settings.hasCome && (type !== FRAME.settings || (flags & FLAG.ack) !== 0)) return connection.fail(breach(ERROR.protocol, this.#isServer ? 'h2-preface' : 'h2-protocol', 'SETTINGS must come first'));
    if (openId !== 0 && (type !== FRAME.continuation || id !== openId)) return connection.fail(breach(ERROR.protocol, 'h2-protocol', 'a block of fields was interrupted'));
    if (!isOfBlock && connection.guard.control()) return connection.fail(breach(ERROR.enhanceYourCalm, 'h2-control-flood', `too many frames of type ${type}`));
    const broken = frameBreach(type, flags, id, end - start);
    if (broken !== undefined) return connection.fail(broken);
    switch (type) {
      case FRAME.headers:
        return this.#block(id, this.#fields.headers(flags, id, input, start, end, connection.ticks.now));
      case FRAME.continuation:
        return this.#block(id, this.#fields.continuation(flags, input, start, end));
      case FRAME.windowUpdate:
        return this.#windowUpdate(id, input.readUInt32BE(start) & 0x7fff_ffff);
      case FRAME.rstStream:
        return this.#rstStream(id, input.readUInt32BE(start));
      case FRAME.settings:
        return (flags & FLAG.ack) !== 0 ? connection.settings.acknowledged() : this.#settings(input, start, end);
      case FRAME.ping:
        return (flags & FLAG.ack) !== 0 ? connection.ponged() : connection.sender.pong(input, start, end);
      case FRAME.goaway:
        return this.#goaway(input, start, end);
      case FRAME.priority:
        return this.#priority(id, input, start, end);
      default:
    }
  }

  badFrame(problem: 'too-long' | 'padding', type: number): void {
    if (problem === 'too-long') this.#connection.fail(breach(ERROR.frameSize, 'h2-frame-size', `a frame of type ${type} is too long`));
    else this.#connection.fail(breach(ERROR.protocol, 'h2-protocol', 'padding is longer than its frame'));
  }

  /** HEADERS or CONTINUATION was read, and broke this rule if any. */
  #block(id: number, broken: Breach | undefined): void {
    const connection = this.#connection;
    if (broken !== undefined) return connection.fail(broken);
    const fields = this.#fields;
    if (fields.openId !== 0) return;
    const stream = connection.streams.get(id);
    // Trailers, informational and late heads come on streams that were paid for once.
    if ((stream !== undefined || id <= connection.streams.lastId) && connection.guard.control()) return connection.fail(breach(ERROR.enhanceYourCalm, 'h2-control-flood', 'too many HEADERS for the streams there are'));
    this.#side.block(id, stream, fields.isEnd, fields.fields, fields.result);
  }

  #windowUpdate(id: number, bytes: number): void {
    const connection = this.#connection;
    // A stream error at least; no honest peer does it, and it is one of the cheap ways to make us reset streams.
    if (bytes === 0) return connection.fail(breach(ERROR.protocol, 'h2-flow-control', 'WINDOW_UPDATE by 0'));
    if (id === 0) {
      if (!connection.windows.grow(bytes)) return connection.fail(breach(ERROR.flowControl, 'h2-flow-control', 'the connection window overflows'));
      return connection.sender.serveLine();
    }
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      if (connection.streams.isIdle(id)) connection.fail(breach(ERROR.protocol, 'h2-protocol', 'WINDOW_UPDATE on an idle stream'));
      return;
    }
    if (!stream.windows.grow(bytes)) return connection.refuseStream(stream, breach(ERROR.flowControl, 'h2-flow-control', 'the stream window overflows'));
    stream.pump(Number.POSITIVE_INFINITY);
  }

  #rstStream(id: number, code: number): void {
    const connection = this.#connection;
    if (connection.streams.isIdle(id)) return connection.fail(breach(ERROR.protocol, 'h2-protocol', 'RST_STREAM on an idle stream'));
    const stream = connection.streams.get(id);
    if (stream === undefined) return connection.streams.forgetReset(id);
    if (!this.#isServer && stream.isRemoteEnded) {
      // The response is whole: the server only wants no more of the request. RFC 9113 §8.1.
      stream.stopSending();
      return connection.settle(stream);
    }
    connection.lose(stream, { reason: code === ERROR.refusedStream ? 'unprocessed' : code === ERROR.cancel && this.#isServer ? 'cancelled' : 'reset', detail: `RST_STREAM ${errorName(code)}` });
    if (this.#isServer && connection.guard.reset()) connection.fail(breach(ERROR.enhanceYourCalm, 'h2-rapid-reset', 'too many streams were reset'));
  }

  #settings(input: Buffer, start: number, end: number): void {
    const { settings, sender, streams } = this.#connection;
    const oldBytes = settings.windowBytes;
    // In their order, each in force before the next is read. RFC 9113 §6.5.3.
    for (let at = start; at < end; at += 6) {
      const broken = this.#setting(input.readUInt16BE(at), input.readUInt32BE(at + 2));
      if (broken !== undefined) return this.#connection.fail(broken);
    }
    settings.hasCome = true;
    sender.acknowledgeSettings();
    // Behind the acknowledgement, so that the peer knows by which settings it was sent.
    if (settings.windowBytes > oldBytes) for (const stream of streams.all()) stream.pump(Number.POSITIVE_INFINITY);
    if (!this.#connection.isClosed) this.#side.settled();
  }

  /** What is open already feels the change of a table's and of a window's size. RFC 7541 §4.2, RFC 9113 §6.9.2. */
  #setting(name: number, value: number): Breach | undefined {
    const { settings, sender, streams } = this.#connection;
    const oldBytes = settings.windowBytes;
    const broken = settings.take(name, value);
    if (broken !== undefined) return broken;
    if (name === SETTING.headerTableSize) sender.resizeTable(value);
    else if (name === SETTING.initialWindowSize) {
      for (const stream of streams.all()) if (!stream.windows.grow(value - oldBytes)) return breach(ERROR.flowControl, 'h2-flow-control', 'a stream window overflows');
    }
    return undefined;
  }

  #goaway(input: Buffer, start: number, end: number): void {
    const code = input.readUInt32BE(start + 4);
    const text = input.toString('latin1', start + 8, Math.min(end, start + 8 + MAX_DETAIL_BYTES)).replace(/[^\x20-\x7e]/g, '?');
    this.#side.goaway(input.readUInt32BE(start) & MAX_STREAM_ID, code, `GOAWAY ${errorName(code)}${text === '' ? '' : `: ${text}`}`);
  }

  /** Of no effect any more, but held against its form: a stream error where the stream is open. RFC 9113 §5.3, §6.3. */
  #priority(id: number, input: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    let broken: Breach;
    if (end - start !== 5) broken = breach(ERROR.frameSize, 'h2-frame-size', 'PRIORITY has five octets');
    else if ((input.readUInt32BE(start) & 0x7fff_ffff) === id) broken = breach(ERROR.protocol, 'h2-protocol', 'a stream depends on itself');
    else return;
    const stream = connection.streams.get(id);
    if (stream === undefined) connection.fail(broken);
    else connection.refuseStream(stream, broken);
  }

  // DATA, in parts as they come.

  dataStart(id: number, flags: number, length: number): void {
    const connection = this.#connection;
    if (!connection.settings.hasCome || this.#fields.openId !== 0) return connection.fail(breach(ERROR.protocol, 'h2-protocol', 'DATA where none is allowed'));
    if (id === 0) return connection.fail(breach(ERROR.protocol, 'h2-protocol', 'DATA on stream 0'));
    if (!connection.windows.receive(length)) return connection.fail(breach(ERROR.flowControl, 'h2-flow-control', 'DATA past the connection window'));
    this.#dataFlags = flags;
    this.#dataRestBytes = length;
    this.#dataStream = this.#takerOf(id, length);
    if (connection.isClosed) return;
    if (length > 0) connection.guard.useful();
    else if ((flags & FLAG.endStream) === 0 && connection.guard.empty()) connection.fail(breach(ERROR.enhanceYourCalm, 'h2-empty-flood', 'too many empty DATA frames'));
  }

  /** The stream that takes a DATA frame; undefined: it comes too late, or breaks a rule. RFC 9113 §5.1, §6.1. */
  #takerOf(id: number, length: number): Stream | undefined {
    const { streams } = this.#connection;
    const stream = streams.get(id);
    if (stream === undefined) {
      if (streams.isIdle(id)) this.#connection.fail(breach(ERROR.protocol, 'h2-protocol', 'a frame on an idle stream'));
      else if (!streams.wasReset(id)) this.#connection.fail(breach(ERROR.streamClosed, 'h2-stream-closed', 'a frame on a closed stream'));
      return undefined;
    }
    let broken: Breach;
    if (stream.isRemoteEnded) broken = breach(ERROR.streamClosed, 'h2-stream-closed', 'DATA after END_STREAM');
    else if (!this.#isServer && !stream.hasResponse) broken = breach(ERROR.protocol, 'h2-malformed', 'DATA before a response');
    else if (!stream.windows.receive(length)) broken = breach(ERROR.flowControl, 'h2-flow-control', 'DATA past the stream window');
    else return stream;
    this.#connection.refuseStream(stream, broken);
    return undefined;
  }

  dataPart(input: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    const stream = this.#dataStream;
    this.#dataRestBytes -= end - start;
    if (stream === undefined || stream.isGone) return connection.giveBack(end - start);
    stream.movedTick = connection.ticks.now;
    if (stream.restBytes >= 0) {
      stream.restBytes -= end - start;
      if (stream.restBytes < 0) {
        connection.giveBack(end - start);
        return connection.refuseStream(stream, breach(ERROR.protocol, 'h2-malformed', 'more body than content-length says'));
      }
    }
    stream.take(start === 0 && end === input.length ? input : input.subarray(start, end));
  }

  dataEnd(): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    // Padding is given back at once: nobody takes it.
    if (this.#dataRestBytes > 0) {
      if (stream === undefined || stream.isGone) this.#connection.giveBack(this.#dataRestBytes);
      else stream.giveBack(this.#dataRestBytes);
    }
    if (stream === undefined || stream.isGone || (this.#dataFlags & FLAG.endStream) === 0) return;
    this.#connection.endOf(stream, undefined);
  }
}
