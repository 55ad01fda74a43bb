// What both ends of an HTTP/2 connection do alike: its streams and how they end, its time limits, and how it ends itself.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { ByteStream } from '../transport/transport.ts';
import type { Abort, HeaderList, HttpLimits } from '../http/exchange.ts';
import { FloodGuard } from './flood-guard.ts';
import type { MessageFields } from './message.ts';
import { type Breach, breach, DEFAULT_WINDOW_BYTES, ERROR, errorName, type Refusal } from './protocol.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';
import { ownSettings, ownWindows, PeerSettings } from './settings.ts';
import type { Stream } from './stream.ts';
import { Streams } from './streams.ts';
import { Ticks } from './ticks.ts';
import { Windows } from './windows.ts';

/** What a server or a client does with what the connection reads. */
export interface Side {
  /** A whole block of fields, in `fields`; `stream` is undefined for one that is not open. */
  block(id: number, stream: Stream | undefined, isEnd: boolean, fields: MessageFields, result: number): void;
  /** The peer's settings are in force. */
  settled(): void;
  /** The peer ends the connection: streams above `lastId` it never looked at. */
  goaway(lastId: number, code: number, detail: string): void;
  /** The answer to the PING that `ping` sent. */
  ponged(): void;
  /** A stream is over, and no longer among `streams`. */
  ended(stream: Stream): void;
  /** Every few seconds. */
  ticked(): void;
  /** A stream or the connection was refused, for `onRefused`. */
  refused(code: Refusal, detail: string): void;
  /** The connection is over, and all its streams. */
  closed(): void;
}

/** What its owner gives a connection. */
export type ConnectionOptions = {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  readonly isServer: boolean;
  /** Who is at the other end, handed on as `ServerExchange.peer`. */
  readonly peer: unknown;
};

/** What may wait in the socket, of frames that no window holds back, before the peer counts as one that does not read. */
const UNREAD_BYTES = 2_097_152;
/** How long a closed connection still reads what was under way, and how much of it. */
const LINGER_MS = 1000;
const MAX_LINGER_BYTES = 1_048_576;

/** One connection. Its owner is a server or a client, which it calls by `Side`. */
export class Connection {
  readonly limits: HttpLimits;
  readonly peer: unknown;
  readonly guard: FloodGuard;
  readonly ticks: Ticks;
  readonly settings: PeerSettings;
  /** The connection's own; each stream has its own, too. */
  readonly windows: Windows;
  /** The window that new streams give the peer. */
  readonly streamWindowBytes: number;
  readonly streams = new Streams();
  readonly sender: Sender;
  /** The tick when the last bytes came. */
  readTick = 0;
  isClosed = false;
  readonly #socket: ByteStream;
  readonly #side: Side;
  readonly #clock: Clock;
  readonly #isServer: boolean;
  readonly #receiver: Receiver;
  #isPinging = false;
  #isLingering = false;
  #lingeredBytes = 0;
  #timer: TimerHandle;

  constructor(socket: ByteStream, side: Side, options: ConnectionOptions) {
    const { limits, clock, isServer } = options;
    const { streamBytes, connectionBytes } = ownWindows(limits);
    this.#socket = socket;
    this.#side = side;
    this.#clock = clock;
    this.#isServer = isServer;
    this.limits = limits;
    this.peer = options.peer;
    this.guard = new FloodGuard(clock);
    this.ticks = new Ticks(limits);
    this.settings = new PeerSettings(isServer);
    this.windows = new Windows(DEFAULT_WINDOW_BYTES, connectionBytes);
    this.streamWindowBytes = streamBytes;
    this.sender = new Sender(socket, this);
    this.#receiver = new Receiver(this, side, isServer);
    this.#timer = this.#arm();
    socket.lend?.();
    socket.on('error', (error: Error) => this.destroy({ reason: 'closed', detail: error.message }));
    socket.on('end', () => this.destroy({ reason: 'closed', detail: 'the other end closed the connection' }));
    socket.on('close', () => this.destroy({ reason: 'closed', detail: 'the connection closed' }));
  }

  /** Sends the settings and opens the connection's window; the owner has sent what must stand before. */
  begin(): void {
    this.sender.settings(ownSettings(this.limits, this.#isServer));
    this.sender.updateWindow(0, this.windows.receiveBytes - DEFAULT_WINDOW_BYTES);
  }

  /** Takes bytes from the socket. */
  read(chunk: Buffer): void {
    if (this.#isLingering) {
      this.#lingeredBytes += chunk.length;
      if (this.#lingeredBytes > MAX_LINGER_BYTES) this.#socket.destroy();
      return;
    }
    if (this.isClosed) return;
    this.readTick = this.ticks.now;
    this.#receiver.read(chunk);
    if (this.sender.unsentBytes > UNREAD_BYTES) this.#unread();
  }

  #unread(): void {
    if (this.isClosed) return;
    this.#side.refused('h2-unread', `${this.sender.unsentBytes} bytes wait for the other end to read`);
    this.destroy({ reason: 'closed', detail: 'the other end does not read' });
  }

  /** A PING whose answer goes to `Side.ponged`; false while one is under way. */
  ping(): boolean {
    if (this.#isPinging || this.isClosed) return false;
    this.#isPinging = true;
    this.sender.ping();
    return true;
  }

  /** A PING is under way. */
  get isPinging(): boolean {
    return this.#isPinging;
  }

  /** The answer to a PING came; one to none is let be. */
  ponged(): void {
    if (!this.#isPinging) return;
    this.#isPinging = false;
    this.#side.ponged();
  }

  // Flow control: what came was taken, and the peer may send as much again. RFC 9113 §6.9.

  /** Bytes of any stream were taken, or thrown away. */
  giveBack(bytes: number): void {
    const paidBytes = this.windows.payBack(bytes);
    if (paidBytes > 0 && !this.isClosed) this.sender.updateWindow(0, paidBytes);
  }

  /** Bytes of a stream whose peer may send more on it were taken. */
  giveBackOn(stream: Stream, bytes: number): void {
    const paidBytes = stream.windows.payBack(bytes);
    if (paidBytes > 0 && !this.isClosed) this.sender.updateWindow(stream.id, paidBytes);
  }

  // How a stream ends. RFC 9113 §5.1, §5.4.2.

  /** The peer's half of a stream ended. */
  endOf(stream: Stream, trailers: HeaderList | undefined): void {
    if (stream.restBytes > 0) return this.refuseStream(stream, breach(ERROR.protocol, 'h2-malformed', 'less body than content-length says'));
    stream.takeEnd(trailers);
    this.settle(stream);
  }

  /** Takes a stream out once both halves are over and its body was taken. */
  settle(stream: Stream): void {
    const { isLocalEnded, isRemoteEnded } = stream;
    if (stream.isGone || (!isLocalEnded && !isRemoteEnded)) return;
    if (isLocalEnded && isRemoteEnded) {
      // Its body may not have been taken yet: what waits is the stream's own.
      if (this.streams.remove(stream)) this.#side.ended(stream);
    } else if (stream.isTunnel || isLocalEnded !== this.#isServer) return;
    // A response is complete, and what is left of its request has no reader. RFC 9113 §8.1.
    else if (this.#isServer) this.reset(stream, ERROR.none, { reason: 'cancelled', detail: 'the response ended before the request' });
    else if (stream.isTaken) this.reset(stream, ERROR.none);
  }

  /** RST_STREAM from here. `why` is told to those who still listen to the stream. */
  reset(stream: Stream, code: number, why: Abort = { reason: 'cancelled', detail: `RST_STREAM ${errorName(code)} sent` }): void {
    const wasOpen = this.streams.remove(stream);
    if (wasOpen && !this.isClosed) this.sendReset(stream.id, code);
    if (code === ERROR.none) stream.onAbort = undefined;
    stream.fail(why);
    if (wasOpen) this.#side.ended(stream);
  }

  /** The peer has ended an open stream before its end. */
  lose(stream: Stream, why: Abort): void {
    if (!this.streams.remove(stream)) return;
    stream.fail(why);
    this.#side.ended(stream);
  }

  /** A stream error: the peer broke a rule on one stream. Counted, since a peer can provoke it at will. RFC 9113 §5.4.2. */
  refuseStream(stream: Stream, { code, refusal, detail }: Breach): void {
    this.#side.refused(refusal, detail);
    this.reset(stream, code, { reason: 'protocol', detail });
    this.countReset();
  }

  /** A stream error on a stream that never was. */
  rejectId(id: number, { code, refusal, detail }: Breach): void {
    this.#side.refused(refusal, detail);
    this.sendReset(id, code);
    this.countReset();
  }

  /** RST_STREAM, whose stream's late frames are then forgiven. */
  sendReset(id: number, code: number): void {
    this.sender.reset(id, code);
    this.streams.noteReset(id);
  }

  /** A peer made us reset once more; ends the connection when it is one too many (CVE-2025-8671). */
  countReset(): void {
    if (this.#isServer && this.guard.reset()) this.fail(breach(ERROR.enhanceYourCalm, 'h2-rapid-reset', 'too many streams had to be reset'));
  }

  // How the connection ends. RFC 9113 §5.4.1, §6.8.

  /** A connection error: GOAWAY, then the end of everything. */
  fail({ code, refusal, detail }: Breach): void {
    if (this.isClosed) return;
    this.#side.refused(refusal, detail);
    this.sender.goaway(this.#isServer ? this.streams.lastId : 0, code, detail);
    this.close({ reason: 'protocol', detail });
  }

  /** Sends what is written and closes. Reads on for a moment, or the kernel would answer late bytes by a reset that overtakes it. */
  close(why: Abort): void {
    if (this.isClosed) return;
    this.sender.flush();
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
    this.#receiver.stop();
    this.#timer.cancel();
    for (const stream of this.streams.takeAll()) {
      stream.fail(this.#isServer || this.sender.mayHaveLeft(stream) ? why : { reason: 'not-sent', detail: why.detail });
      this.#side.ended(stream);
    }
    this.sender.close();
    this.#side.closed();
  }

  // Time.

  #arm(): TimerHandle {
    return this.#clock.setTimer(this.ticks.tickMs, () => {
      this.ticks.now++;
      this.guard.tick();
      this.#checkTime();
      if (this.isClosed) return;
      this.#side.ticked();
      if (!this.isClosed) this.#timer = this.#arm();
    });
  }

  #checkTime(): void {
    const overdue = this.#receiver.overdue();
    if (overdue !== undefined) return this.fail(overdue);
    for (const stream of this.streams.all()) {
      if (!this.ticks.isIdle(stream.movedTick)) continue;
      this.#side.refused('h2-idle-timeout', 'no byte of the stream moved');
      this.reset(stream, ERROR.cancel, { reason: 'timeout', detail: 'no byte of the stream moved' });
      if (this.isClosed) return;
    }
  }
}
