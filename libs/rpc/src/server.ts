// The one way to serve: TLS 1.3 with verified SPIFFE callers over TCP, or plain over a private Unix socket.
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { chmod } from 'node:fs/promises';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { createServer as createTlsServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { messageOf, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { type BundleSource, type SvidFacts, svidFacts, svidToPem, type SvidSource, toPem, trustDomainOfCert, verifySvid } from '@isthmus/pki';
import type { Log, Metrics } from '@isthmus/telemetry';
import { rememberCaller, type UnixPeer } from './caller.ts';
import { MAX_MESSAGE_BYTES } from './channel.ts';
import { fail } from './errors.ts';
import { rpcMetrics } from './metrics.ts';
import { isBanned, isRevoked, presentedChain } from './peer-chain.ts';
import { listenOnUnixSocket } from './unix-listener.ts';

// Definition and implementation are made for each other by the generator; here they only pass through.
export type RpcService = { readonly definition: object; readonly implementation: object };

export type StartRpcServerOptions = {
  /** A Unix socket is its owner's alone (0600) unless `mode` says otherwise; then its directory may be entered by all. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly unixPath: string; readonly mode?: number };
  /** Asked of each connection to a Unix socket before it may call; what it says is `unixPeerOf(call)`. */
  readonly peerOf?: (socket: Socket) => Promise<UnixPeer>;
  /** Connections of one user to a Unix socket with `peerOf`, at once. 128. */
  readonly connectionsPerUser?: number;
  /** Needed for TCP; its changes are used by the next handshake. */
  readonly svids?: SvidSource;
  readonly bundles?: BundleSource;
  readonly services: readonly RpcService[];
  readonly log: Log;
  readonly metrics?: Metrics;
  readonly clock?: { nowMs(): number };
  readonly maxConnections?: number;
};

export interface RpcServer {
  /** 0 for a Unix socket. */
  readonly port: number;
  readonly address: string;
  /** Ends new calls at once and open ones after the limit. Idempotent. */
  close(limitMs: number): Promise<void>;
}

const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 10_000;

/** **Throws** RPC_PORT_BUSY, RPC_SOCKET_BUSY, RPC_LISTEN_FAILED. */
export async function startRpcServer(options: StartRpcServerOptions): Promise<RpcServer> {
  const grpc = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.enable_channelz': 0,
  });
  for (const service of options.services) {
    grpc.addService(service.definition as ServiceDefinition, service.implementation as UntypedServiceImplementation);
  }
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  let closing: Promise<void> | undefined;
  const { listener, stopListening } =
    'unixPath' in options.listen
      ? await listenOnUnixSocket({ ...options, path: options.listen.unixPath, isPrivate: options.listen.mode === undefined })
      : onTls(options);
  listener.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
  listener.on(listener.secureEvent, (socket: Socket) => {
    if (socket.destroyed) return;
    // Its handshake ended after this server did: nobody would ever answer it, and the other end would wait for ever.
    if (closing !== undefined) return void socket.destroy();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    injector.injectConnection(socket);
  });
  await listening(listener, options.listen);
  if ('unixPath' in options.listen) await chmod(options.listen.unixPath, options.listen.mode ?? 0o600);

  const address = listener.address();
  const close = async (limitMs: number): Promise<void> => {
    stopListening();
    listener.close();
    injector.drain(limitMs);
    await new Promise<void>((resolve) => {
      const limit = setTimeout(() => {
        grpc.forceShutdown();
        resolve();
      }, limitMs);
      grpc.tryShutdown(() => {
        clearTimeout(limit);
        resolve();
      });
    });
    injector.destroy();
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    address: 'unixPath' in options.listen ? `unix:${options.listen.unixPath}` : `${options.listen.host}:${(address as AddressInfo).port}`,
    close: (limitMs) => (closing ??= close(limitMs)),
  };
}

/** `secureEvent` is told when a connection's other end is known. */
type Listener = NetServer & { secureEvent: string };

function onTls(options: StartRpcServerOptions): { readonly listener: Listener; readonly stopListening: () => void } {
  const { svids, bundles, log } = options;
  if (svids === undefined || bundles === undefined) throw new TypeError('serving over TCP needs an identity and bundles');
  const metrics = options.metrics && rpcMetrics(options.metrics);
  const nowMs = options.clock ? () => options.clock?.nowMs() ?? 0 : () => Date.now();
  const server = createTlsServer({
    ...contextOf(svids, bundles),
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    requestCert: true,
    // A caller without a certificate may still join with a token; one with a bad certificate is refused below.
    rejectUnauthorized: false,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    sessionTimeout: 1,
  });
  const refuse = (socket: Socket, reason: string, detail: string): void => {
    metrics?.refusedConnections.inc({ reason });
    log.warn('connection refused', { code: reason, detail, remote: socket.remoteAddress });
    socket.destroy();
  };
  const callers = new Map<Socket, Known>();
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => socket.destroy());
    const problem = identify(socket, bundles, nowMs(), callers);
    if (problem !== undefined) refuse(socket, problem.reason, problem.detail);
  });
  server.on('tlsClientError', (error, socket) => {
    socket.on('error', () => undefined);
    refuse(socket, 'handshake', messageOf(error));
  });
  const update = (): void => server.setSecureContext(contextOf(svids, bundles));
  // A caller that is banned, or stands on a compromised root, loses its open connection, and all its streams with it.
  const cutBanned = (): void => {
    for (const [socket, { facts, chain }] of [...callers]) {
      if (isBanned(facts.spiffeId, facts.svid, bundles)) refuse(socket, 'banned', `${facts.spiffeId} is banned`);
      else if (isRevoked(chain, facts.spiffeId, bundles, nowMs())) refuse(socket, 'revoked', `${facts.spiffeId} stands on a revoked root`);
    }
  };
  const unsubscribe = [svids.onChange(update), bundles.onChange(update), bundles.onChange(cutBanned)];
  return {
    listener: Object.assign(server, { secureEvent: 'secureConnection' }),
    stopListening: () => {
      for (const stop of unsubscribe) stop();
    },
  };
}

/** Whose a connection is, and by what chain. */
type Known = { readonly facts: CallerFacts; readonly chain: readonly Buffer[] };

/** Verifies the certificate a caller presented, if any, and notes whose connection this is. */
function identify(socket: TLSSocket, bundles: BundleSource, nowMs: number, callers: Map<Socket, Known>): { readonly reason: string; readonly detail: string } | undefined {
  const chain = presentedChain(socket);
  const [leaf] = chain;
  if (leaf === undefined) return undefined;
  const id = trustDomainOfCert(leaf);
  if (!id.ok) return { reason: 'not-an-svid', detail: id.problems[0]?.message ?? '' };
  const verdict = verifySvid({ chain, bundle: bundles.get(trustDomainOf(id.value)), nowMs });
  if (!verdict.ok) return verdict;
  const facts = { spiffeId: verdict.spiffeId, svid: svidFacts(verdict.spiffeId, chain) };
  if (isBanned(facts.spiffeId, facts.svid, bundles)) return { reason: 'banned', detail: `${verdict.spiffeId} is banned` };
  rememberCaller(socket, verdict.spiffeId, leaf);
  callers.set(socket, { facts, chain });
  socket.once('close', () => callers.delete(socket));
  return undefined;
}

type CallerFacts = { readonly spiffeId: SpiffeId; readonly svid: readonly SvidFacts[] };

/** What a TLS server presents and trusts now. Its chain goes out with the roots behind it, so that a token's holder can find the one it pinned. */
export function contextOf(svids: SvidSource, bundles: BundleSource): SecureContextOptions {
  const roots = [...new Set(bundles.all().flatMap((b) => b.x509Authorities))].map((base64) => toPem(Buffer.from(base64, 'base64')));
  const svid = svids.current();
  if (svid === undefined) return { ca: roots };
  const { certPem, keyPem } = svidToPem(svid);
  const own = bundles.get(trustDomainOf(svid.spiffeId))?.x509Authorities ?? [];
  return { ca: roots, cert: certPem + own.map((base64) => toPem(Buffer.from(base64, 'base64'))).join(''), key: keyPem };
}

function listening(listener: NetServer, where: StartRpcServerOptions['listen']): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' && 'port' in where) {
        reject(fail('RPC_PORT_BUSY', `port ${where.port} on ${where.host} is taken by another program`, { hint: 'choose another port', facts: { port: where.port }, cause: error }));
      } else reject(fail('RPC_LISTEN_FAILED', `cannot listen on ${'port' in where ? `${where.host}:${where.port}` : where.unixPath}: ${error.message}`, { cause: error }));
    });
    if ('port' in where) listener.listen(where.port, where.host, resolve);
    else listener.listen(where.unixPath, resolve);
  });
}
