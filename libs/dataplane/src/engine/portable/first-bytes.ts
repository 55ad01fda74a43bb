// Reads what a connection begins with: a PROXY v2 header from peers that must send one, then a whole ClientHello.
import type { Socket } from 'node:net';
import type { Clock } from '@isthmus/runtime';
import { ClientHelloReader } from '../../tls/client-hello.ts';
import type { RelayRefusal } from '../engine.ts';
import type { IpPort } from '../ip-address.ts';
import { readProxyHeader } from '../proxy-protocol.ts';

export type FirstBytes =
  | {
      readonly kind: 'hello';
      readonly serverName: string;
      /** Everything read after the PROXY header, to be passed on as it came. */
      readonly bytes: Buffer;
      /** Addresses of the PROXY header, where it had some. */
      readonly addresses?: { readonly source: IpPort; readonly destination: IpPort };
    }
  | { readonly kind: 'refused'; readonly reason: RelayRefusal }
  /** The peer left; nobody is there to be told anything. */
  | { readonly kind: 'gone' };

export type FirstBytesOptions = {
  /** From accept to the last byte of the hello. */
  readonly limitMs: number;
  /** Whether the peer must begin with a PROXY header. */
  readonly isProxied: boolean;
  readonly clock: Clock;
};

const NOTHING = Buffer.alloc(0);

/** Reads until the hello is whole, refused or late; the socket is then paused. Calls `done` once. */
class FirstBytesReader {
  readonly #socket: Socket;
  readonly #done: (first: FirstBytes) => void;
  readonly #hello = new ClientHelloReader();
  readonly #timer: { cancel(): void };
  /** Bytes of a PROXY header that is not whole yet; undefined when there is none to come. */
  #header: Buffer | undefined;
  #addresses: { readonly source: IpPort; readonly destination: IpPort } | undefined;

  constructor(socket: Socket, options: FirstBytesOptions, done: (first: FirstBytes) => void) {
    this.#socket = socket;
    this.#done = done;
    this.#header = options.isProxied ? NOTHING : undefined;
    this.#timer = options.clock.setTimer(options.limitMs, () => this.#settle({ kind: 'refused', reason: 'hello-timeout' }));
  }

  start(): void {
    this.#socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
    this.#socket.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    const rest = this.#header === undefined ? chunk : this.#takeHeader(this.#header, chunk);
    if (rest === undefined || rest.length === 0) return;
    const result = this.#hello.push(rest);
    if (result.kind === 'refused') this.#settle(result);
    else if (result.kind === 'hello') {
      const { serverName } = result;
      this.#settle({ kind: 'hello', serverName, bytes: this.#hello.bytes, ...(this.#addresses && { addresses: this.#addresses }) });
    }
  };

  /** What follows the PROXY header, once that is whole. */
  #takeHeader(before: Buffer, chunk: Buffer): Buffer | undefined {
    const bytes = before.length === 0 ? chunk : Buffer.concat([before, chunk]);
    const result = readProxyHeader(bytes);
    if (result.kind === 'refused') this.#settle({ kind: 'refused', reason: 'proxy-protocol' });
    else if (result.kind === 'need-more') this.#header = bytes;
    else {
      this.#header = undefined;
      this.#addresses = result.addresses;
      return bytes.subarray(result.sizeBytes);
    }
    return undefined;
  }

  readonly #onEnd = (): void => {
    if (this.#header !== undefined && this.#header.length > 0) this.#settle({ kind: 'refused', reason: 'proxy-protocol' });
    else this.#settle({ kind: 'refused', reason: this.#hello.bytes.length === 0 ? 'no-hello' : 'malformed' });
  };

  readonly #onClose = (): void => this.#settle({ kind: 'gone' });

  #settle(first: FirstBytes): void {
    this.#timer.cancel();
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    this.#socket.pause();
    this.#done(first);
  }
}

/** **Bounds** 16 KiB of hello, a PROXY header, and `limitMs`; never rejects. */
export function readFirstBytes(socket: Socket, options: FirstBytesOptions): Promise<FirstBytes> {
  return new Promise((resolve) => new FirstBytesReader(socket, options, resolve).start());
}
