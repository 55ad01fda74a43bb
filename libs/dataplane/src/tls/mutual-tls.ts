// Mutual TLS between two SPIFFE identities: dials and accepts, TLS 1.3 only, each side verified against one trust domain's bundle.
import { connect, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { messageOf, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { type BundleSource, type SvidSource, svidToPem } from '@isthmus/pki';
import { type Clock, systemClock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { lookupByCache } from '../transport/name-cache.ts';
import { Generations, GENERATION_MS, sessionKey } from './generation.ts';
import { judgeCaller, judgeServer, MAX_CHAIN, type Peer } from './judge.ts';

export type ConnectMutualTlsOptions = {
  readonly host: string;
  readonly port: number;
  /** A property of the endpoint, never of the pool (facts U7). */
  readonly sni: string;
  /** The whole SPIFFE ID the server must prove; anything else is refused. */
  readonly expectedId: SpiffeId;
  /** The trust domain of the endpoint: only its bundle may vouch for the server. */
  readonly trustDomain: TrustDomain;
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Limit of TCP connect and handshake together. */
  readonly timeoutMs: number;
  readonly alpn?: readonly string[];
  /** Keeps the read side open after the own end was sent: for relays. */
  readonly allowHalfOpen?: boolean;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** Who answered, as soon as it has proven that. */
  readonly onPeer?: (peer: Peer) => void;
};

export type AcceptMutualTlsOptions = {
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Limit of the handshake, from the accepted connection to the verified peer. */
  readonly timeoutMs: number;
  readonly alpn?: readonly string[];
  readonly clock?: Clock;
};

type PortableGenerations = Generations<SecureContext, Buffer>;
const generations = { client: new WeakMap<SvidSource, WeakMap<BundleSource, PortableGenerations>>(), server: new WeakMap<SvidSource, WeakMap<BundleSource, PortableGenerations>>() };
const rawSockets = new WeakMap<TLSSocket, Socket>();

/**
 * Dials an endpoint and proves both ends. **Throws** DATAPLANE_CONNECT_FAILED (TCP or TLS), DATAPLANE_CONNECT_TIMEOUT,
 * DATAPLANE_NO_IDENTITY (no SVID to show), DATAPLANE_PEER_REFUSED (the server is not who it should be; `facts.reason`
 * says why). Nothing has been sent to the application in any of these cases.
 */
export async function connectMutualTls(options: ConnectMutualTlsOptions): Promise<TLSSocket> {
  const { host, port } = options;
  const clock = options.clock ?? systemClock;
  const generation = generationsOf('client', options.svids, options.bundles, clock).current();
  const key = sessionKey(options);
  const offered = generation.session(key);
  const allowHalfOpen = options.allowHalfOpen ?? false;
  const raw = connect({ host, port, lookup: lookupByCache, allowHalfOpen, noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 });
  const socket = connectTls({
    socket: raw,
    servername: options.sni,
    secureContext: generation.context,
    ...(offered === undefined ? {} : { session: offered.session }),
    // OpenSSL would merge all roots into one set; pki judges by the endpoint's own bundle below.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    minVersion: 'TLSv1.3',
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
  });
  rawSockets.set(socket, raw);
  try {
    await handshake(socket, raw, 'secureConnect', options.timeoutMs, clock, options.signal);
    const isResumed = socket.isSessionReused();
    const peer = judgeServer(isResumed && offered !== undefined ? offered.chain : presentedChain(socket), options, options.bundles, clock.nowMs());
    if (!isResumed) socket.once('session', (session: Buffer) => generation.keep(key, { session, chain: peer.chain }));
    options.onPeer?.(peer);
    return socket;
  } catch (error) {
    generation.drop(key);
    socket.destroy();
    raw.destroy();
    throw isOwn(error) ? error : fail('DATAPLANE_CONNECT_FAILED', `connecting to ${host}:${port} failed: ${messageOf(error)}`, { cause: error, facts: { host, port } });
  }
}

/**
 * Ends TLS on an accepted TCP connection and proves the caller by the bundle of its own trust domain. A caller without a
 * certificate is refused. Each connection takes the SVID that is current when it arrives, so rotation drops nothing.
 * **Throws** DATAPLANE_PEER_REFUSED, DATAPLANE_NO_IDENTITY, DATAPLANE_HANDSHAKE_FAILED, DATAPLANE_CONNECT_TIMEOUT; the
 * connection is closed then. **Source** SPIFFE X.509-SVID §5; decision 0004.
 */
export async function acceptMutualTls(raw: Socket, options: AcceptMutualTlsOptions): Promise<{ readonly socket: TLSSocket; readonly peer: Peer }> {
  const clock = options.clock ?? systemClock;
  raw.on('error', () => undefined); // before, during and after the handshake: one lost connection, never the process
  const generation = (() => {
    try {
      return generationsOf('server', options.svids, options.bundles, clock).current();
    } catch (error) {
      raw.destroy();
      throw error;
    }
  })();
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: generation.context,
    requestCert: true,
    rejectUnauthorized: false, // judged below, by the bundle of the caller's own trust domain
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
  });
  rawSockets.set(socket, raw);
  try {
    await handshake(socket, raw, 'secure', options.timeoutMs, clock);
    const isResumed = socket.isSessionReused();
    const presented = presentedChain(socket);
    const peer = judgeCaller(isResumed ? generation.chainBehind(presented) : presented, options.bundles, clock.nowMs());
    if (!isResumed) generation.remember(peer.chain);
    return { socket, peer };
  } catch (error) {
    socket.destroy();
    raw.destroy();
    throw isOwn(error) ? error : fail('DATAPLANE_HANDSHAKE_FAILED', `TLS handshake failed: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Closes with a TCP reset, so that the other end cannot take a cut-off stream for a complete one (reliability row 55).
 * A moment later: Node ends in a segmentation fault where the TCP handle goes while one of the TLS handle's own calls
 * is still on the stack, as it is in every event and promise that follows a read.
 */
export function resetMutualTls(socket: TLSSocket): void {
  const raw = rawSockets.get(socket);
  socket.pause();
  setImmediate(() => {
    if (raw !== undefined && !raw.destroyed) raw.resetAndDestroy();
    socket.destroy();
  });
}

function presentedChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let cert = socket.getPeerX509Certificate();
  while (cert !== undefined && chain.length < MAX_CHAIN) {
    chain.push(cert.raw);
    cert = cert.issuerCertificate;
  }
  return chain;
}

/** Waits for the handshake's end, its failure or its time limit; leaves an error listener behind on purpose. */
async function handshake(socket: TLSSocket, raw: Socket, event: 'secure' | 'secureConnect', timeoutMs: number, clock: Clock, signal?: AbortSignal): Promise<void> {
  raw.on('error', () => undefined); // the TLS socket reports it; without a listener here it would end the process (row 68)
  await new Promise<void>((resolve, reject) => {
    const timer = clock.setTimer(timeoutMs, () => reject(fail('DATAPLANE_CONNECT_TIMEOUT', `no TLS connection within ${timeoutMs} ms`)));
    const settle = (error?: Error): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onAbort = (): void => settle(new Error('given up by the caller'));
    if (signal?.aborted === true) return settle(new Error('given up by the caller'));
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.on('error', settle);
    socket.once('close', () => settle(new Error('closed by the other end')));
    socket.once(event, () => settle());
  });
}

/** Of each source of SVIDs under each source of bundles. */
function generationsOf(side: 'client' | 'server', svids: SvidSource, bundles: BundleSource, clock: Clock): PortableGenerations {
  let byBundles = generations[side].get(svids);
  if (byBundles === undefined) generations[side].set(svids, (byBundles = new WeakMap()));
  let found = byBundles.get(bundles);
  if (found === undefined) byBundles.set(bundles, (found = new Generations(svids, bundles, clock, { side, make: contextOf })));
  return found;
}

/** It takes about a millisecond. No `ca`: OpenSSL decides nothing here. Its ticket keys are random and its own. */
function contextOf(svid: Parameters<typeof svidToPem>[0]): SecureContext {
  const { certPem, keyPem } = svidToPem(svid);
  return createSecureContext({ cert: certPem, key: keyPem, ca: [], minVersion: 'TLSv1.3', sessionIdContext: 'isthmus', sessionTimeout: GENERATION_MS / 1_000 });
}

function isOwn(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('DATAPLANE_');
}
