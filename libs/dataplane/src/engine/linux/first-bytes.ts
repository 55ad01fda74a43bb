// A connection's first bytes, from its socket until the endpoint has them: as a rule one whole hello that is never copied.
import { readWholeHello } from '../../tls/client-hello.ts';
import * as libc from '../../transport/linux/libc.ts';
import type { RelayRefusal } from '../engine.ts';
import { HelloPieces, type HelloPiecesResult } from './hello-pieces.ts';
import { HELLO_ROOM_BYTES, type HelloRooms } from './hello-rooms.ts';
import { isAgain, type Side } from './relay-stream.ts';

/** `gone`: the socket failed before it had said anything that could be answered. */
export type FirstBytesResult = HelloPiecesResult | { readonly kind: 'refused'; readonly reason: RelayRefusal } | { readonly kind: 'gone' };

const NEED_MORE: FirstBytesResult = { kind: 'need-more' };
const GONE: FirstBytesResult = { kind: 'gone' };
const NOTHING = Buffer.alloc(0);

const piece = Buffer.allocUnsafeSlow(65_536);

/** **Bounds** one of the gateway's rooms, or what `HelloPieces` allows. */
export class FirstBytes {
  readonly #rooms: HelloRooms;
  /** Undefined where the first bytes are one whole hello, as nearly always. */
  #pieces: HelloPieces | undefined;
  /** Where a whole hello lies until it is sent. */
  #room: libc.FixedMemory | undefined;
  #filledBytes = 0;

  constructor(rooms: HelloRooms, isProxied: boolean) {
    this.#rooms = rooms;
    if (isProxied) this.#pieces = new HelloPieces(true);
  }

  /** What a PROXY header said before the hello. */
  get addresses(): HelloPieces['addresses'] {
    return this.#pieces?.addresses;
  }

  /** The hello's; a PROXY header before it is not counted. */
  get sizeBytes(): number {
    return this.#room === undefined ? (this.#pieces?.bytes?.length ?? 0) : this.#filledBytes;
  }

  /** Reads what is there; with `need-more` the socket is empty. */
  read(from: Side): FirstBytesResult {
    const whole = this.#pieces === undefined ? this.#readWhole(from) : NEED_MORE;
    if (whole.kind !== 'need-more') return whole;
    while (from.readable) {
      const count = libc.recv(from.fd, piece, piece.length, 0);
      if (count <= 0) return this.#noBytes(count, from);
      const result = this.#push(piece.subarray(0, count));
      if (result.kind !== 'need-more') return result;
    }
    return NEED_MORE;
  }

  /** One read into a room; where that is not the whole hello, what came is a piece of it. */
  #readWhole(from: Side): FirstBytesResult {
    const room = this.#rooms.take();
    const count = libc.recvAt(from.fd, room.address, HELLO_ROOM_BYTES, 0);
    if (count > 0 && count < HELLO_ROOM_BYTES) {
      if (!from.peerEnded) from.readable = false;
      const whole = readWholeHello(room.bytes, count);
      if (whole !== undefined) {
        this.#room = room;
        this.#filledBytes = count;
        return whole;
      }
    }
    const result = count > 0 ? this.#push(room.bytes.subarray(0, count)) : this.#noBytes(count, from);
    this.#rooms.giveBack(room);
    return result;
  }

  #push(bytes: Buffer): HelloPiecesResult {
    return (this.#pieces ??= new HelloPieces(false)).push(bytes);
  }

  #noBytes(count: number, from: Side): FirstBytesResult {
    if (count === 0) return { kind: 'refused', reason: this.#pieces?.earlyEnd ?? 'no-hello' };
    if (!isAgain()) return GONE;
    from.readable = false;
    return NEED_MORE;
  }

  /**
   * Sends a hello straight from where it was read to. What is left of it to send, the caller's from now on: all of it where
   * the send failed, which the next one finds out about.
   */
  sendTo(fd: number): Buffer {
    if (this.#room === undefined) return this.take();
    const sent = libc.sendAt(fd, this.#room.address, this.#filledBytes, libc.MSG_NOSIGNAL);
    return this.#take(Math.max(0, sent));
  }

  /** The hello, the caller's from now on. */
  take(): Buffer {
    return this.#take(0);
  }

  #take(from: number): Buffer {
    const room = this.#room;
    if (room === undefined) return this.#pieces?.bytes ?? NOTHING;
    const rest = from === this.#filledBytes ? NOTHING : Buffer.from(room.bytes.subarray(from, this.#filledBytes));
    this.release();
    return rest;
  }

  /** Gives its room back. Idempotent. */
  release(): void {
    if (this.#room !== undefined) this.#rooms.giveBack(this.#room);
    this.#room = undefined;
  }
}
