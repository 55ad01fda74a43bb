// Connections of the loop: plain ones, and mutual TLS by OpenSSL on the descriptor itself.
import { messageOf } from '@isthmus/model';
import type { SvidSource, X509Svid } from '@isthmus/pki';
import { fail } from '../../errors.ts';
import { judgeCaller, judgeServer } from '../../tls/judge.ts';
import type { ConnectMutualTlsOptions } from '../../tls/mutual-tls.ts';
import type { ByteStream, DialledStream, DialOptions, ListenOptions, MutualTlsListenOptions, SecureStream, Transport, TransportListener } from '../transport.ts';
import { addressOf, connectingSocket, openListener } from './dial.ts';
import * as libc from './libc.ts';
import type { Loop } from './loop.ts';
import { type Handle, makeContext, openssl } from './openssl.ts';
import { SilenceWatch } from './silence-watch.ts';
import { LoopStream } from './stream.ts';
import { TlsStream } from './tls-stream.ts';

/** The transport of one loop. **Throws** DATAPLANE_ENGINE_UNAVAILABLE. */
export function linuxTransport(loop: Loop): Transport {
  openssl();
  const watch = new SilenceWatch(loop);
  return {
    engine: 'linux',
    clock: loop.clock,
    listen: async (options, onStream) => listen(loop, options, watch, (fd) => new LoopStream(loop, fd, false, options), onStream),
    listenMutualTls: async (options, onStream, onRefused) => listenMutualTls(loop, watch, options, onStream, onRefused),
    dial: (options) => dial(loop, watch, options),
    dialMutualTls: (options) => dialMutualTls(loop, watch, options),
    reset: (stream) => void (stream as LoopStream).resetAndDestroy(),
  };
}

function listen<S extends LoopStream>(loop: Loop, options: ListenOptions, watch: SilenceWatch, make: (fd: number) => S | undefined, onStream: (stream: S) => void): TransportListener {
  const open = new Set<LoopStream>();
  const listener = openListener(loop, options.listen.host, options.listen.port, options.label, (fd) => {
    if (open.size >= options.connections) return void libc.close(fd);
    const stream = make(fd);
    if (stream === undefined) return void libc.close(fd);
    open.add(stream);
    watch.add(stream);
    stream.once('close', () => open.delete(stream));
    onStream(stream);
  }, () => options.onExhausted?.(), options.listen.sharesPort === undefined ? {} : { sharesPort: options.listen.sharesPort });
  // What the system has accepted for this listener is served, not reset.
  return { host: listener.host, port: listener.port, open, close: () => listener.drain() };
}

function listenMutualTls(loop: Loop, watch: SilenceWatch, options: MutualTlsListenOptions, onStream: (secure: SecureStream) => void, onRefused: (error: unknown, remoteAddress: string | undefined) => void): TransportListener {
  const contexts = new Contexts(options.svids, 'server', options.alpn);
  const make = (fd: number): TlsStream | undefined => {
    try {
      return new TlsStream(loop, fd, false, { side: 'server', context: contexts.current() }, options);
    } catch (error) {
      onRefused(error, undefined);
      return undefined;
    }
  };
  const onAccepted = (stream: TlsStream): void => {
    const remoteAddress = stream.remoteAddress;
    shake(loop, stream, options.timeoutMs, (error) => {
      if (error !== undefined) return onRefused(isOwn(error) ? error : fail('DATAPLANE_HANDSHAKE_FAILED', `TLS handshake failed: ${messageOf(error)}`, { cause: error }), remoteAddress);
      try {
        const peer = judgeCaller(stream.presentedChain(), options.bundles, loop.clock.nowMs());
        onStream({ stream, peer, alpn: stream.alpnProtocol, serverName: stream.serverName?.toLowerCase() });
      } catch (refusal) {
        stream.destroy();
        onRefused(refusal, remoteAddress);
      }
    });
  };
  return listen(loop, options, watch, make, onAccepted);
}

async function dial(loop: Loop, watch: SilenceWatch, { host, port, timeoutMs, allowHalfOpen }: DialOptions): Promise<ByteStream> {
  const stream = new LoopStream(loop, connectingSocket(await addressOf(loop, host, port)), true, { allowHalfOpen });
  watch.add(stream, `${host}:${port}`);
  return new Promise((resolve, reject) => {
    const timer = loop.setTimer(timeoutMs, () => stream.destroy(fail('DATAPLANE_CONNECT_TIMEOUT', `no connection to ${host}:${port} within ${timeoutMs} ms`, { facts: { host, port } })));
    const onError = (error: Error): void => {
      timer.cancel();
      reject(isOwn(error) ? error : fail('DATAPLANE_CONNECT_FAILED', `connecting to ${host}:${port} failed: ${error.message}`, { cause: error, facts: { host, port } }));
    };
    stream.once('error', onError);
    stream.once('connect', () => {
      timer.cancel();
      stream.off('error', onError);
      resolve(stream);
    });
  });
}

const clientContexts = new WeakMap<SvidSource, Contexts>();

async function dialMutualTls(loop: Loop, watch: SilenceWatch, options: ConnectMutualTlsOptions): Promise<DialledStream> {
  const { host, port } = options;
  let contexts = clientContexts.get(options.svids);
  if (contexts === undefined) clientContexts.set(options.svids, (contexts = new Contexts(options.svids, 'client', [])));
  const context = contexts.current();
  const fd = connectingSocket(await addressOf(loop, host, port));
  const stream = new TlsStream(loop, fd, true, { side: 'client', context, serverName: options.sni, alpn: options.alpn ?? [] }, { allowHalfOpen: options.allowHalfOpen ?? false });
  watch.add(stream, `${host}:${port}`);
  const onAbort = (): void => void stream.destroy(new Error('given up by the caller'));
  options.signal?.addEventListener('abort', onAbort, { once: true });
  return new Promise((resolve, reject) => {
    shake(loop, stream, options.timeoutMs, (error) => {
      options.signal?.removeEventListener('abort', onAbort);
      if (error !== undefined) return reject(isOwn(error) ? error : fail('DATAPLANE_CONNECT_FAILED', `connecting to ${host}:${port} failed: ${messageOf(error)}`, { cause: error, facts: { host, port } }));
      try {
        const peer = judgeServer(stream.presentedChain(), options, options.bundles, loop.clock.nowMs());
        options.onPeer?.(peer);
        resolve({ stream, alpn: stream.alpnProtocol });
      } catch (refusal) {
        stream.destroy();
        reject(refusal as Error);
      }
    });
    if (options.signal?.aborted === true) onAbort();
  });
}

/** Waits for the handshake's end or its time limit; `done` is called once. */
function shake(loop: Loop, stream: TlsStream, timeoutMs: number, done: (error?: Error) => void): void {
  const timer = loop.setTimer(timeoutMs, () => stream.destroy(fail('DATAPLANE_CONNECT_TIMEOUT', `no TLS connection within ${timeoutMs} ms`)));
  let over = false;
  const settle = (error?: Error): void => {
    if (over) return;
    over = true;
    timer.cancel();
    stream.off('error', settle);
    stream.off('close', onClose);
    done(error);
  };
  const onClose = (): void => settle(new Error('closed by the other end'));
  stream.once('error', settle);
  stream.once('close', onClose);
  stream.once('secureConnect', () => settle());
}

/** The context of the SVID in force; a new one is made when it changes, connections keep theirs. */
class Contexts {
  readonly #svids: SvidSource;
  readonly #side: 'client' | 'server';
  readonly #alpn: readonly string[];
  #svid: X509Svid | undefined;
  #context: Handle | undefined;

  constructor(svids: SvidSource, side: 'client' | 'server', alpn: readonly string[]) {
    this.#svids = svids;
    this.#side = side;
    this.#alpn = alpn;
  }

  /** **Throws** DATAPLANE_NO_IDENTITY. */
  current(): Handle {
    const svid = this.#svids.current();
    if (svid === undefined) throw fail('DATAPLANE_NO_IDENTITY', this.#side === 'client' ? 'no SVID to call with yet' : 'no SVID to answer with yet');
    if (svid !== this.#svid || this.#context === undefined) {
      // Connections hold their own reference; freeing ours ends the context with the last of them.
      if (this.#context !== undefined) openssl().ctxFree(this.#context);
      this.#context = makeContext(svid, { side: this.#side, alpn: this.#alpn });
      this.#svid = svid;
    }
    return this.#context;
  }
}

function isOwn(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('DATAPLANE_');
}
