// Into a workload: mutual TLS ends here, the caller's identity is proven and passed on, the application gets plain bytes.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { formatServiceName, IsthmusError, messageOf, type Protocol, type ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { type Clock, Pool, systemClock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { forwardedClientCert, originForm, UNPROCESSED_HEADER, withoutIdentity } from '../http/headers.ts';
import { forwardRequest } from '../http/forward.ts';
import { answer, answerSocket, openHttpServer } from '../http/server.ts';
import { finishUpgrade, requestUpgrade } from '../http/upgrade.ts';
import type { Peer } from '../tls/judge.ts';
import { acceptMutualTls, resetMutualTls } from '../tls/mutual-tls.ts';
import { relayTls } from '../tls/relay-tls.ts';
import { drained } from './drain.ts';
import { listenOn, type ListenAddress } from './listen.ts';

/** Where the application of one workload port listens. */
export type InboundWorkload = {
  readonly service: ServiceName;
  readonly instance: string;
  readonly host: string;
  readonly port: number;
  /** Read at each connection: a getter may follow the snapshot. */
  readonly protocol: Protocol;
};

export type InboundLimits = {
  readonly handshakeMs: number;
  readonly connectMs: number;
  readonly headersMs: number;
  /** Longer than the outbound side keeps its idle connections. */
  readonly keepAliveMs: number;
  readonly idleMs: number;
  readonly connections: number;
};

export const INBOUND_LIMITS: InboundLimits = {
  handshakeMs: 5_000,
  connectMs: 1_000,
  headersMs: 10_000,
  keepAliveMs: 75_000,
  idleMs: 3_600_000,
  connections: 4_096,
};

export type InboundOptions = {
  readonly listen: ListenAddress;
  readonly workload: InboundWorkload;
  /** The SVID of the workload's own service. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Whether this verified peer may call; without it, every identity of a trust domain whose bundle is held may. */
  readonly authorize?: (peer: Peer) => boolean;
  /** The application could not be connected to: passive health, faster than the next probe. */
  readonly onApplicationDown?: (workload: InboundWorkload, error: Error) => void;
  readonly limits?: Partial<InboundLimits>;
  readonly clock?: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface InboundListener {
  readonly port: number;
  readonly host: string;
  readonly connections: number;
  /** Stops accepting, lets requests finish for so long, then cuts what is left. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/** Opens the inbound listener of one workload port. **Throws** DATAPLANE_LISTEN_FAILED. */
export async function startInbound(options: InboundOptions): Promise<InboundListener> {
  const { workload, metrics } = options;
  const clock = options.clock ?? systemClock;
  const limits = { ...INBOUND_LIMITS, ...options.limits };
  const service = formatServiceName(workload.service);
  const log = options.log.with({ service, instance: workload.instance, direction: 'inbound' });
  const refused = metrics.counter('isthmus_inbound_refused_total', 'Connections refused at an inbound listener', ['service', 'reason']);
  const requests = metrics.counter('isthmus_inbound_requests_total', 'Requests that came in over mutual TLS', ['service', 'outcome']);
  const peers = new WeakMap<object, Peer>();
  const application = new Application(workload, limits);
  const down = (error: Error): void => options.onApplicationDown?.(workload, error);

  const http = openHttpServer({
    headersTimeoutMs: limits.headersMs,
    keepAliveMs: limits.keepAliveMs,
    idleMs: limits.idleMs,
    log,
    onRequest: serveRequest,
    onUpgrade: serveUpgrade,
  });

  /** What the application gets to see of the caller: the end-to-end headers, and who the caller is by its certificate. */
  function headersFor(request: IncomingMessage): string[] | undefined {
    const peer = peers.get(request.socket);
    const own = options.svids.current()?.spiffeId;
    if (peer === undefined || own === undefined) return undefined;
    return [...withoutIdentity(request.rawHeaders), 'x-forwarded-client-cert', forwardedClientCert(own, peer)];
  }

  async function serveRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = originForm(request.url ?? '/');
    const headers = headersFor(request);
    if (headers === undefined) return answer(response, 403, undefined, 'no proven identity');
    if (path === undefined) return answer(response, 400, undefined, 'the request target names no path');
    const startedMs = clock.monotonicMs();
    const outcome = await forwardRequest({
      to: application.pool,
      method: request.method ?? 'GET',
      path,
      headers,
      body: hasBody(request) ? request : undefined,
      response,
      limitMs: 0, // the caller's side holds the time limit of a request
      idleMs: limits.idleMs,
      meshPeer: false,
      clock,
    });
    requests.inc({ service, outcome: outcome.kind });
    log.debug('request done', { method: request.method, path, outcome: outcome.kind, durationMs: Math.round(clock.monotonicMs() - startedMs) });
    switch (outcome.kind) {
      case 'not-sent':
        down(outcome.error);
        return answer(response, 503, 'UF', `the application of ${service} does not answer at its port`, { [UNPROCESSED_HEADER]: '1' });
      case 'failed':
        return answer(response, 503, 'UC', `the application of ${service} closed the connection before it answered`, { [UNPROCESSED_HEADER]: '0' });
      case 'invalid':
        return answer(response, 400, undefined, `the request cannot be passed on: ${outcome.error.message}`);
      case 'done':
        if (!request.complete) request.resume();
        return;
      default:
        return;
    }
  }

  async function serveUpgrade(request: IncomingMessage, socket: Socket, first: Buffer): Promise<void> {
    const headers = headersFor(request);
    if (headers === undefined) return void socket.destroy();
    let over: Socket;
    try {
      over = await application.dial(true);
    } catch (error) {
      down(error instanceof Error ? error : new Error(messageOf(error)));
      return answerSocket(socket, 503, 'UF', `the application of ${service} does not answer at its port`, { [UNPROCESSED_HEADER]: '1' });
    }
    const answered = await requestUpgrade(over, request, headers, limits.idleMs);
    requests.inc({ service, outcome: answered.kind });
    if (answered.kind === 'failed') return answerSocket(socket, 503, 'UC', `the application of ${service} closed the connection before it answered`, { [UNPROCESSED_HEADER]: '0' });
    await finishUpgrade(socket, first, answered, limits.idleMs);
  }

  async function serveTcp(socket: TLSSocket): Promise<void> {
    let over: Socket;
    try {
      over = await application.dial(true);
    } catch (error) {
      down(error instanceof Error ? error : new Error(messageOf(error)));
      requests.inc({ service, outcome: 'not-sent' });
      return resetMutualTls(socket);
    }
    const end = await relayTls(socket, over, { idleMs: limits.idleMs });
    requests.inc({ service, outcome: end });
  }

  async function serve(raw: Socket): Promise<void> {
    try {
      const { socket, peer } = await acceptMutualTls(raw, { svids: options.svids, bundles: options.bundles, timeoutMs: limits.handshakeMs, clock });
      if (options.authorize !== undefined && !options.authorize(peer)) {
        refused.inc({ service, reason: 'denied' });
        log.warn('caller denied', { spiffeId: peer.spiffeId });
        return resetMutualTls(socket);
      }
      peers.set(socket, peer);
      if (workload.protocol === 'http') http.take(socket);
      else await serveTcp(socket);
    } catch (error) {
      const reason = reasonOf(error);
      refused.inc({ service, reason });
      log.warn('caller refused', { reason, detail: messageOf(error), remote: raw.remoteAddress });
    }
  }

  const tcp = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000, allowHalfOpen: true });
  tcp.maxConnections = limits.connections;
  const open = new Set<Socket>();
  tcp.on('connection', (raw) => {
    open.add(raw);
    raw.once('close', () => open.delete(raw));
    void serve(raw);
  });
  const bound = await listenOn(tcp, options.listen, `inbound listener of ${service}`);

  let closing: Promise<void> | undefined;
  return {
    ...bound,
    get connections() {
      return open.size;
    },
    close: ({ drainMs = 0 } = {}) => {
      closing ??= (async () => {
        tcp.close();
        await drained(open, http, drainMs, clock);
        http.close();
        for (const socket of open) socket.destroy();
        await application.close();
      })();
      return closing;
    },
  };
}

/** The plain side: one pool for requests, single connections for relays. */
class Application {
  readonly pool: Pool;
  readonly #workload: InboundWorkload;
  readonly #connectMs: number;

  constructor(workload: InboundWorkload, limits: InboundLimits) {
    this.#workload = workload;
    this.#connectMs = limits.connectMs;
    this.pool = new Pool('http://application.invalid', {
      connections: 1_024,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: 4_000, // shorter than the shortest usual server's five seconds; its own hint wins
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (_target, done) => {
        this.dial(false).then((socket) => done(null, socket), (error: unknown) => done(error instanceof Error ? error : new Error(String(error)), null));
      },
    });
  }

  dial(allowHalfOpen: boolean): Promise<Socket> {
    const { host, port } = this.#workload;
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, allowHalfOpen, noDelay: true });
      const onTimeout = (): void => void socket.destroy(new Error(`no connection to ${host}:${port} within ${this.#connectMs} ms`));
      socket.setTimeout(this.#connectMs, onTimeout);
      socket.on('error', reject); // stays, so that no later error is unhandled
      socket.once('connect', () => {
        socket.setTimeout(0);
        socket.off('timeout', onTimeout);
        resolve(socket);
      });
    });
  }

  close(): Promise<void> {
    return this.pool.destroy();
  }
}

function hasBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof IsthmusError)) return 'internal';
  const reason = error.facts['reason'];
  return typeof reason === 'string' ? reason : error.code === 'DATAPLANE_CONNECT_TIMEOUT' ? 'handshake-timeout' : 'handshake';
}
