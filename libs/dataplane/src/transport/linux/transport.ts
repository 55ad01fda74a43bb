// Connections of the loop: plain ones, and mutual TLS by OpenSSL on the descriptor itself.
import { messageOf } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { fail } from '../../errors.ts';
import { type Generation, Generations, sessionKey } from '../../tls/generation.ts';
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
    originalDestination: (stream) => (stream as LoopStream).originalDestination,
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
  }, () => options.onExhausted?.(), options.listen);
  // What the system has accepted for this listener is served, not reset.
  return { host: listener.host, port: listener.port, open, close: () => listener.drain() };
}

function listenMutualTls(loop: Loop, watch: SilenceWatch, options: MutualTlsListenOptions, onStream: (secure: SecureStream) => void, onRefused: (error: unknown, remoteAddress: string | undefined) => void): TransportListener {
  const generations = openGenerations(loop, 'server', options.svids, options.bundles, options.alpn);
  const shakenIn = new WeakMap<TlsStream, LinuxGeneration>();
  const make = (fd: number): TlsStream | undefined => {
    try {
      const generation = generations.current();
      const stream = new TlsStream(loop, fd, false, { side: 'server', context: generation.context }, options);
      shakenIn.set(stream, generation);
      return stream;
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
        const isResumed = stream.isResumed;
        const presented = stream.presentedChain();
        const generation = shakenIn.get(stream);
        const peer = judgeCaller(isResumed ? (generation?.chainBehind(presented) ?? presented) : presented, options.bundles, loop.clock.nowMs());
        if (!isResumed) {
          generation?.remember(peer.chain);
          stream.giveTicket();
        }
        onStream({ stream, peer, alpn: stream.alpnProtocol, serverName: stream.serverName?.toLowerCase(), isResumed });
      } catch (refusal) {
        stream.destroy();
        onRefused(refusal, remoteAddress);
      }
    });
  };
  try {
    const listener = listen(loop, options, watch, make, onAccepted);
    return {
      ...listener,
      close: () => {
        listener.close();
        generations.close();
      },
    };
  } catch (error) {
    generations.close();
    throw error;
  }
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

type LinuxGeneration = Generation<Handle, Handle>;
type LinuxGenerations = Generations<Handle, Handle>;
const clientGenerations = new WeakMap<SvidSource, WeakMap<BundleSource, LinuxGenerations>>();

function clientGeneration(loop: Loop, svids: SvidSource, bundles: BundleSource): LinuxGeneration {
  let byBundles = clientGenerations.get(svids);
  if (byBundles === undefined) clientGenerations.set(svids, (byBundles = new WeakMap()));
  let generations = byBundles.get(bundles);
  if (generations === undefined) byBundles.set(bundles, (generations = openGenerations(loop, 'client', svids, bundles, [])));
  return generations.current();
}

/** Connections hold their own reference to a context; freeing ours ends it with the last of them. */
function openGenerations(loop: Loop, side: 'client' | 'server', svids: SvidSource, bundles: BundleSource, alpn: readonly string[]): LinuxGenerations {
  const { ctxFree, sessionFree } = openssl();
  return new Generations(svids, bundles, loop.clock, { side, make: (svid) => makeContext(svid, { side, alpn }), freeContext: ctxFree, freeSession: sessionFree });
}

async function dialMutualTls(loop: Loop, watch: SilenceWatch, options: ConnectMutualTlsOptions): Promise<DialledStream> {
  const { host, port } = options;
  clientGeneration(loop, options.svids, options.bundles); // nothing is looked up or opened without an identity
  const address = await addressOf(loop, host, port);
  const generation = clientGeneration(loop, options.svids, options.bundles);
  const key = sessionKey(options);
  const offered = generation.session(key);
  const fd = connectingSocket(address);
  const stream = new TlsStream(loop, fd, true, { side: 'client', context: generation.context, serverName: options.sni, alpn: options.alpn ?? [], session: offered?.session }, { allowHalfOpen: options.allowHalfOpen ?? false });
  watch.add(stream, `${host}:${port}`);
  const onAbort = (): void => void stream.destroy(new Error('given up by the caller'));
  options.signal?.addEventListener('abort', onAbort, { once: true });
  return new Promise((resolve, reject) => {
    shake(loop, stream, options.timeoutMs, (error) => {
      options.signal?.removeEventListener('abort', onAbort);
      if (error !== undefined) {
        generation.drop(key);
        return reject(isOwn(error) ? error : fail('DATAPLANE_CONNECT_FAILED', `connecting to ${host}:${port} failed: ${messageOf(error)}`, { cause: error, facts: { host, port } }));
      }
      try {
        const isResumed = stream.isResumed;
        const peer = judgeServer(isResumed && offered !== undefined ? offered.chain : stream.presentedChain(), options, options.bundles, loop.clock.nowMs());
        if (!isResumed) stream.onSession((session) => generation.keep(key, { session, chain: peer.chain }));
        options.onPeer?.(peer);
        resolve({ stream, alpn: stream.alpnProtocol, isResumed });
      } catch (refusal) {
        generation.drop(key);
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

function isOwn(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('DATAPLANE_');
}
