// Flow control: how many bytes of DATA each side may still send, on one stream or on the whole connection. RFC 9113 §5.2.
import { MAX_WINDOW_BYTES } from './protocol.ts';

/** The two windows of a stream, or those of the connection: the rules are the same. */
export class Windows {
  /** Bytes of DATA that may still be sent from here; negative after the peer shrank it. RFC 9113 §6.9.2. */
  sendBytes: number;
  /** Bytes of DATA the peer may still send. */
  receiveBytes: number;
  readonly #fullBytes: number;
  /** Taken from what the peer sent, and not yet paid back. */
  #takenBytes = 0;

  /** `sendBytes`: what the peer gives at first; `receiveBytes`: what it is given, and always again. */
  constructor(sendBytes: number, receiveBytes: number) {
    this.sendBytes = sendBytes;
    this.receiveBytes = receiveBytes;
    this.#fullBytes = receiveBytes;
  }

  /** The peer gives so many bytes more, or fewer where `bytes` is negative. False: more than a window may be. RFC 9113 §6.9.1. */
  grow(bytes: number): boolean {
    this.sendBytes += bytes;
    return this.sendBytes <= MAX_WINDOW_BYTES;
  }

  /** DATA went out. */
  spend(bytes: number): void {
    this.sendBytes -= bytes;
  }

  /** DATA came, padding included. False: more than the peer was given. */
  receive(bytes: number): boolean {
    this.receiveBytes -= bytes;
    return this.receiveBytes >= 0;
  }

  /** What came was taken: by how much to update the peer's window now; 0: not yet, less than half of the window was taken. */
  payBack(bytes: number): number {
    this.#takenBytes += bytes;
    if (this.#takenBytes * 2 < this.#fullBytes) return 0;
    const paidBytes = this.#takenBytes;
    this.#takenBytes = 0;
    this.receiveBytes += paidBytes;
    return paidBytes;
  }
}
