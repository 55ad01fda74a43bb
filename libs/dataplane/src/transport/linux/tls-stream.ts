// A TLS 1.3 connection on the loop: OpenSSL reads and writes the descriptor itself, so bytes are copied once.
import { fail } from '../../errors.ts';
import * as libc from './libc.ts';
import type { Loop } from './loop.ts';
import { alpnWire, type Handle, lastError, offerSession, openssl, presentedChain, resumableSession, selectedAlpn, setServerName, SSL_ERROR_SYSCALL, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN } from './openssl.ts';
import { AGAIN, FAILED, LoopStream, type StreamOptions } from './stream.ts';

export type TlsSide =
  | { readonly side: 'server'; readonly context: Handle }
  | { readonly side: 'client'; readonly context: Handle; readonly serverName: string; readonly alpn: readonly string[]; readonly session: Handle | undefined };

/**
 * Adds `secureConnect` (the handshake is done; nobody has been verified yet) to a stream's events. **Owns** its SSL object,
 * and the descriptor once the constructor has returned.
 */
export class TlsStream extends LoopStream {
  readonly #o = openssl();
  #ssl: Handle | undefined;
  #secure = false;
  /** What OpenSSL wants before a read or a handshake can go on. */
  #wantsWritable = false;
  #onSession: ((session: Handle) => void) | undefined;

  constructor(loop: Loop, fd: number, connecting: boolean, tls: TlsSide, options: StreamOptions) {
    const ssl = openssl().sslNew(tls.context);
    if (ssl === null) throw fail('DATAPLANE_ENGINE_UNAVAILABLE', `no TLS connection: ${lastError()}`);
    super(loop, fd, connecting, options);
    this.#ssl = ssl;
    this.#o.setFd(ssl, fd);
    if (tls.side === 'server') this.#o.setAccept(ssl);
    else {
      this.#o.setConnect(ssl);
      setServerName(ssl, tls.serverName);
      if (tls.alpn.length > 0) {
        const wire = alpnWire(tls.alpn);
        this.#o.setAlpn(ssl, wire, wire.length);
      }
      if (tls.session !== undefined) offerSession(ssl, tls.session);
    }
  }

  /** The chain the other end presented, DER, leaf first. Only after `secureConnect`. */
  presentedChain(): Buffer[] {
    return this.#ssl === undefined ? [] : presentedChain(this.#ssl);
  }

  get alpnProtocol(): string | undefined {
    return this.#ssl === undefined ? undefined : selectedAlpn(this.#ssl);
  }

  /** Whether this handshake took up a former one's session. Only after `secureConnect`. */
  get isResumed(): boolean {
    return this.#ssl !== undefined && this.#o.isResumed(this.#ssl) === 1;
  }

  /** Server: the caller was judged good and may resume; the ticket goes out with what is sent or read next. */
  giveTicket(): void {
    if (this.#ssl !== undefined) this.#o.newTicket(this.#ssl);
  }

  /** Client: gives the session, once, when the server's first bytes and the ticket before them are here. The taker owns it. */
  onSession(fn: (session: Handle) => void): void {
    this.#onSession = fn;
  }

  /** The name the client asked for. */
  get serverName(): string | undefined {
    return this.#ssl === undefined ? undefined : (this.#o.serverName(this.#ssl, 0) ?? undefined);
  }

  override onEvents(events: number): void {
    if (this.connecting || this.#secure) return super.onEvents(events);
    this.#shakeHands();
  }

  protected override onConnected(): void {
    this.#shakeHands();
  }

  protected override onWritable(): void {
    if (!this.#wantsWritable) return;
    this.#wantsWritable = false;
    this.readSome();
  }

  #shakeHands(): void {
    const ssl = this.#ssl;
    if (ssl === undefined) return;
    this.#o.clearErrors();
    const result = this.#o.handshake(ssl);
    if (result === 1) {
      this.#secure = true;
      this.wantWritable(false);
      this.emit('secureConnect');
      this.flush();
      // What came along with the handshake's last flight is in OpenSSL's buffer already: no event will tell.
      if (!this.destroyed && !this.isPaused() && this.hasMore()) this.readSome();
      return;
    }
    const error = this.#o.getError(ssl, result);
    if (error === SSL_ERROR_WANT_READ) this.wantWritable(false);
    else if (error === SSL_ERROR_WANT_WRITE) this.wantWritable(true);
    else this.destroy(new Error(error === SSL_ERROR_SYSCALL ? 'closed by the other end' : lastError()));
  }

  protected override readyToSend(): boolean {
    return this.#secure;
  }

  protected override hasMore(): boolean {
    return this.#secure && this.#ssl !== undefined && this.#o.hasPending(this.#ssl) === 1;
  }

  protected override receive(into: Buffer, sizeBytes: number): number {
    const ssl = this.#ssl;
    if (ssl === undefined) return FAILED;
    const count = this.#o.read(ssl, into, sizeBytes);
    if (count <= 0) return this.#why(ssl, count, true);
    if (this.#onSession !== undefined) this.#tellSession(ssl);
    return count;
  }

  #tellSession(ssl: Handle): void {
    const tell = this.#onSession;
    this.#onSession = undefined;
    const session = resumableSession(ssl);
    if (session !== undefined) tell?.(session);
  }

  protected override transmit(from: Uint8Array, sizeBytes: number): number {
    const ssl = this.#ssl;
    if (ssl === undefined) return FAILED;
    const count = this.#o.write(ssl, from, sizeBytes);
    return count > 0 ? count : this.#why(ssl, count, false);
  }

  protected override mayOfferAgain(): boolean {
    return true;
  }

  #why(ssl: Handle, result: number, reading: boolean): number {
    const errno = libc.errno();
    const error = this.#o.getError(ssl, result);
    if (error === SSL_ERROR_WANT_READ) return AGAIN;
    if (error === SSL_ERROR_WANT_WRITE) {
      if (reading) {
        this.#wantsWritable = true;
        this.wantWritable(true);
      }
      return AGAIN;
    }
    if (error === SSL_ERROR_ZERO_RETURN && reading) return 0;
    if (error === SSL_ERROR_SYSCALL && errno !== 0) this.fail(errno);
    else this.destroy(Object.assign(new Error(`connection failed: ${lastError()}`), { code: 'ECONNRESET' }));
    return FAILED;
  }

  /** close_notify, then the TCP end: the other side knows it has everything (RFC 8446 §6.1). */
  protected override transmitEnd(): void {
    if (this.#ssl !== undefined) this.#o.shutdown(this.#ssl);
    super.transmitEnd();
  }

  protected override release(): void {
    const ssl = this.#ssl;
    if (ssl === undefined) return;
    this.#ssl = undefined;
    this.#o.clearErrors();
    this.#o.sslFree(ssl);
  }
}
