// The seam between the proxies and the system's sockets: plain and mutual-TLS connections, from whichever engine there is.
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { EngineKind } from '../engine/engine.ts';
import type { ListenAddress } from '../proxy/listen.ts';
import type { Peer } from '../tls/judge.ts';
import type { ConnectMutualTlsOptions } from '../tls/mutual-tls.ts';

type Listener<A extends readonly unknown[]> = (...args: A) => void;

/**
 * A connection: the part of net.Socket's and tls.TLSSocket's face that codecs and relays may use, which the Linux
 * engine's own streams have too. Nothing else may be asked of a connection. Reading starts with the first `data` listener.
 */
export interface ByteStream {
  readonly destroyed: boolean;
  readonly readableEnded: boolean;
  readonly writableFinished: boolean;
  /** Bytes taken by `write` and not yet by the system. */
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  on(event: 'data', fn: Listener<[Buffer]>): this;
  on(event: 'error', fn: Listener<[Error]>): this;
  on(event: 'end' | 'close' | 'drain' | 'timeout', fn: Listener<[]>): this;
  once(event: 'error', fn: Listener<[Error]>): this;
  once(event: 'end' | 'close' | 'drain' | 'timeout', fn: Listener<[]>): this;
  off(event: 'data', fn: Listener<[Buffer]>): this;
  off(event: 'error', fn: Listener<[Error]>): this;
  off(event: 'end' | 'close' | 'drain' | 'timeout', fn: Listener<[]>): this;
  /** False: hold back until `drain`. The bytes are taken either way and must not be changed afterwards. */
  write(chunk: Uint8Array): boolean;
  write(chunk: string, encoding: 'latin1'): boolean;
  /**
   * As `write` of the first `sizeBytes`, given to the system within this call where nothing waits before them: they may
   * be changed and used again once it returns. Where it is missing, `write` of a copy does.
   */
  writeNow?(bytes: Buffer, sizeBytes: number): boolean;
  /** After what was written: no more comes from this side. */
  end(): unknown;
  cork(): void;
  uncork(): void;
  pause(): unknown;
  resume(): unknown;
  isPaused(): boolean;
  /** Calls `flush` once at the end of this turn of the stream's loop, before its writes are sent. Where it is missing, `setImmediate` does. */
  atTurnEnd?(flushed: { flush(): void }): void;
  /** `timeout` once no byte has moved for so long; 0: never. */
  /** From here on, chunks of `data` are good during the call only: who keeps one takes `kept(chunk)`. Where it is missing, all are to keep. */
  lend?(): void;
  /** Calls `sent` whenever nothing written waits any longer: the system has it, or it never will. Where it is missing, nobody can tell. */
  onSent?(fn: () => void): void;
  setTimeout(idleMs: number, fn?: Listener<[]>): unknown;
  destroy(error?: Error): unknown;
}

/** A connection dialled, whose other end has proven to be who was expected. */
export type DialledStream = {
  readonly stream: ByteStream;
  /** What ALPN agreed on; undefined where the server chose nothing. */
  readonly alpn: string | undefined;
  /** Whether a former handshake's session was taken up; who answers was judged all the same. */
  readonly isResumed: boolean;
};

/** A connection accepted, whose caller has proven who it is. */
export type SecureStream = {
  readonly stream: ByteStream;
  readonly peer: Peer;
  /** What ALPN agreed on; undefined where the client offered nothing. */
  readonly alpn: string | undefined;
  /** The name the client asked for, lower-case. */
  readonly serverName: string | undefined;
  /** Whether a former handshake's session was taken up; the caller was judged all the same. */
  readonly isResumed: boolean;
};

export type ListenOptions = {
  readonly listen: ListenAddress;
  /** For error messages. */
  readonly label: string;
  readonly allowHalfOpen: boolean;
  /** More than this at once are closed at accept. */
  readonly connections: number;
  /** The process has no descriptor left: accepting rests for a moment, what is open goes on (reliability 59). */
  readonly onExhausted?: () => void;
};

export type MutualTlsListenOptions = ListenOptions & {
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** From accept to the verified peer. */
  readonly timeoutMs: number;
  /** Best first; a client that offers none of them is refused, one that offers nothing is not. */
  readonly alpn: readonly string[];
};

export interface TransportListener {
  readonly host: string;
  readonly port: number;
  /** Connections open now, those shaking hands included. */
  readonly open: ReadonlySet<ByteStream>;
  /** Stops accepting. What is open goes on. */
  close(): void;
}

export type DialOptions = {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly allowHalfOpen: boolean;
};

/** Connections of one engine. `linux` is of the thread it was opened in. */
export interface Transport {
  readonly engine: EngineKind;
  /** The engine's own timers: everything on this transport uses them. */
  readonly clock: Clock;
  /** **Throws** DATAPLANE_LISTEN_FAILED. */
  listen(options: ListenOptions, onStream: (stream: ByteStream) => void): Promise<TransportListener>;
  /**
   * Ends TLS and proves each caller by the bundle of its own trust domain before `onStream` hears of it; `onRefused`
   * gets DATAPLANE_PEER_REFUSED, DATAPLANE_NO_IDENTITY, DATAPLANE_HANDSHAKE_FAILED, DATAPLANE_CONNECT_TIMEOUT.
   * **Throws** DATAPLANE_LISTEN_FAILED.
   */
  listenMutualTls(options: MutualTlsListenOptions, onStream: (secure: SecureStream) => void, onRefused: (error: unknown, remoteAddress: string | undefined) => void): Promise<TransportListener>;
  /** **Throws** DATAPLANE_CONNECT_FAILED, DATAPLANE_CONNECT_TIMEOUT. */
  dial(options: DialOptions): Promise<ByteStream>;
  /** **Throws** what `connectMutualTls` throws. */
  dialMutualTls(options: ConnectMutualTlsOptions): Promise<DialledStream>;
  /** Closes with a TCP reset, so that the other end cannot take a cut-off stream for a complete one (reliability 55). */
  reset(stream: ByteStream): void;
  /** Where an accepted connection was going before the system's packet filter redirected it; undefined where that is not known, as in the portable engine. */
  originalDestination(stream: ByteStream): { readonly host: string; readonly port: number } | undefined;
}
