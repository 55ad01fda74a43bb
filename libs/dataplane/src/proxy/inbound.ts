// Into a workload: mutual TLS ends here, the caller's identity is proven and passed on, the application gets plain bytes.
import { formatServiceName, IsthmusError, messageOf, parseSni, type Protocol, type ServiceName, type SpiffeId, spiffeIds, trustDomainOf } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { BoundCounter, Counter, Log, Metrics } from '@isthmus/telemetry';
import { HTTP_LIMITS, type HttpLimits, type RequestHead, type ServerExchange } from '../http/exchange.ts';
import { type AttemptFailure, Forward, type Outcome } from '../http/forward.ts';
import { readForwardedCaller } from '../http/forwarded-caller.ts';
import { type Caller, Front } from '../http/front.ts';
import { withGrpcTimeout } from '../http/grpc.ts';
import { forwardedClientCert, UNPROCESSED_HEADER, withoutIdentity } from '../http/headers.ts';
import { type InboundHooks, refusalOfForm, type Verdict } from '../http/hooks.ts';
import { isMisdirected } from '../http/misdirected.ts';
import { Overload } from '../http/overload.ts';
import type { Peer } from '../tls/judge.ts';
import { OpenPeers } from '../tls/open-peers.ts';
import { portableTransport } from '../transport/portable.ts';
import type { ByteStream, SecureStream, Transport, TransportListener } from '../transport/transport.ts';
import { openConnection } from '../upstream/connect.ts';
import { type HttpVersion, STREAMS_EXPECTED } from '../upstream/endpoint-pools.ts';
import { ConnectionPool } from '../upstream/pool.ts';
import { drained } from './drain.ts';
import type { ListenAddress } from './listen.ts';
import { relay } from './relay.ts';

/** Where the application of one workload port listens. */
export type InboundWorkload = {
  readonly service: ServiceName;
  readonly instance: string;
  readonly host: string;
  readonly port: number;
  /** The service port's name; where it is given, callers that ask for another one by SNI are refused. */
  readonly portName?: string;
  /** Read at each connection and request: a getter may follow the snapshot. */
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
  /** Connections to the application. */
  readonly applicationConnections: number;
  /** Requests under way at once; more are refused with 503. */
  readonly requests: number;
};

export const INBOUND_LIMITS: InboundLimits = {
  handshakeMs: 5_000,
  connectMs: 1_000,
  headersMs: 10_000,
  keepAliveMs: 75_000,
  idleMs: 3_600_000,
  connections: 4_096,
  applicationConnections: 1_024,
  requests: 16_384,
};

export type InboundOptions = {
  readonly listen: ListenAddress;
  readonly workload: InboundWorkload;
  /** The SVID of the workload's own service. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Whether this verified peer may call, asked at each connection and request; without it, every identity of a trust domain whose bundle is held may. */
  readonly authorize?: (peer: Peer) => boolean;
  /** Decisions about single requests. */
  readonly hooks?: InboundHooks;
  /** The application could not be connected to: passive health, faster than the next probe. */
  readonly onApplicationDown?: (workload: InboundWorkload, error: Error) => void;
  readonly limits?: Partial<InboundLimits>;
  /** Whose connections these are; Node's own without it. */
  readonly transport?: Transport;
  /** The clock of the transport made here where none is given. */
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
  const inbound = new Inbound(options);
  const { listen, svids, bundles } = options;
  const { limits, service } = inbound;
  const listener = await inbound.transport.listenMutualTls(
    {
      listen,
      label: `inbound listener of ${service}`,
      allowHalfOpen: true,
      connections: limits.connections,
      onExhausted: () => inbound.log.error('no descriptor left: accepting rests', { connections: listener.open.size }),
      svids,
      bundles,
      timeoutMs: limits.handshakeMs,
      alpn: ['h2', 'http/1.1'],
    },
    (secure) => inbound.serve(secure),
    (error, remoteAddress) => inbound.refuse(error, remoteAddress),
  );
  let closing: Promise<void> | undefined;
  return {
    host: listener.host,
    port: listener.port,
    get connections() {
      return listener.open.size;
    },
    close: ({ drainMs = 0 } = {}) => (closing ??= inbound.close(listener, drainMs)),
  };
}

class Inbound {
  readonly workload: InboundWorkload;
  readonly options: InboundOptions;
  readonly transport: Transport;
  readonly limits: InboundLimits;
  readonly service: string;
  readonly log: Log;
  readonly front: Front;
  readonly #refused: Counter;
  readonly #requests: Counter;
  readonly #counted = new Map<string, BoundCounter>();
  readonly #pools: Record<HttpVersion, ConnectionPool>;
  /** What was last said about who calls, by peer. */
  readonly #clientCerts = new WeakMap<Peer, { readonly own: string; readonly value: string }>();
  readonly #peers: OpenPeers;
  #goodAuthority = '';
  /** The gateway's ID beside our own that it follows from. */
  #gateway: { readonly own: SpiffeId; readonly spiffeId: SpiffeId } | undefined;

  constructor(options: InboundOptions) {
    const { workload, metrics } = options;
    this.options = options;
    this.workload = workload;
    this.transport = options.transport ?? portableTransport(options.clock);
    this.limits = { ...INBOUND_LIMITS, ...options.limits };
    this.service = formatServiceName(workload.service);
    this.log = options.log.with({ service: this.service, instance: workload.instance, direction: 'inbound' });
    this.#refused = metrics.counter('isthmus_inbound_refused_total', 'Connections refused at an inbound listener', ['service', 'reason']);
    this.#requests = metrics.counter('isthmus_inbound_requests_total', 'Requests that came in over mutual TLS', ['service', 'outcome']);
    this.#peers = new OpenPeers({
      bundles: options.bundles,
      clock: this.transport.clock,
      close: this.transport.reset,
      onClosed: (peer, reason, connections) => {
        this.#refused.inc({ service: this.service, reason }, connections);
        this.log.warn('connections closed: their caller is trusted no longer', { spiffeId: peer.spiffeId, reason, connections });
      },
    });
    const limits = this.#httpLimits();
    this.#pools = { '1.1': this.#applicationPool('1.1', limits), '2': this.#applicationPool('2', limits) };
    const { clock } = this.transport;
    this.front = new Front({
      limits,
      clock,
      scheme: 'https',
      log: this.log,
      overload: new Overload({ clock, requests: this.limits.requests }),
      reset: this.transport.reset,
      onRequest: (head, exchange, caller) => this.#serveRequest(head, exchange, caller),
      onRefused: (code, detail) => {
        this.count(code);
        this.log.debug('malformed request refused', { code, detail });
      },
    });
  }

  #httpLimits(): HttpLimits {
    const { headersMs, keepAliveMs, idleMs } = this.limits;
    return { ...HTTP_LIMITS, headMs: headersMs, keepAliveMs, idleMs };
  }

  #applicationPool(version: HttpVersion, limits: HttpLimits): ConnectionPool {
    return new ConnectionPool({
      dial: async () => openConnection(await this.#dialApplication(false), version, limits, this.transport),
      connections: this.limits.applicationConnections,
      queue: this.limits.requests,
      requestsPerConnection: version === '2' ? STREAMS_EXPECTED : 1,
      clock: this.transport.clock,
      idleMs: 4_000, // shorter than the shortest usual server's five seconds
      onDialFailed: (error) => this.options.onApplicationDown?.(this.workload, error),
    });
  }

  #dialApplication(allowHalfOpen: boolean): Promise<ByteStream> {
    const { host, port } = this.workload;
    return this.transport.dial({ host, port, timeoutMs: this.limits.connectMs, allowHalfOpen });
  }

  /** Counts an ended request or connection. */
  count(outcome: string): void {
    let counter = this.#counted.get(outcome);
    if (counter === undefined) this.#counted.set(outcome, (counter = this.#requests.bind({ service: this.service, outcome })));
    counter.inc();
  }

  refuse(error: unknown, remoteAddress: string | undefined): void {
    const reason = reasonOf(error);
    this.#refused.inc({ service: this.service, reason });
    this.log.warn('caller refused', { reason, detail: messageOf(error), remote: remoteAddress });
  }

  serve({ stream, peer, alpn, serverName }: SecureStream): void {
    const refusal = serverName !== undefined && !this.#isOwnName(serverName) ? 'wrong-sni' : this.#isDenied(peer) ? 'denied' : undefined;
    if (refusal !== undefined) {
      this.#refused.inc({ service: this.service, reason: refusal });
      this.log.warn(refusal === 'denied' ? 'caller denied' : 'caller asked for another service', { spiffeId: peer.spiffeId, serverName });
      return this.transport.reset(stream);
    }
    this.#peers.add(stream, peer);
    if (this.workload.protocol === 'tcp') this.#serveTcp(stream);
    else if (alpn === undefined) this.front.takeUnknown(stream, peer);
    else this.front.take(stream, alpn === 'h2' ? '2' : '1.1', peer);
  }

  /** A gateway of this cluster calls for others, at layer 7 alone: who they are comes with each request. */
  #isDenied(peer: Peer): boolean {
    return this.#isOwnGateway(peer) ? this.workload.protocol === 'tcp' : this.options.authorize?.(peer) === false;
  }

  #isOwnGateway(peer: Peer): boolean {
    const own = this.options.svids.current()?.spiffeId;
    if (own === undefined) return false;
    if (this.#gateway?.own !== own) this.#gateway = { own, spiffeId: spiffeIds.gateway(trustDomainOf(own)) };
    return peer.spiffeId === this.#gateway.spiffeId;
  }

  /** Whether a name is one of this listener's service and port, in whichever trust domain it runs (reliability 50). */
  #isOwnName(name: string): boolean {
    const target = parseSni(name);
    if (target?.kind !== 'service' || target.layer === 7) return false;
    const { service, portName } = this.workload;
    return target.service.name === service.name && target.service.namespace === service.namespace && (portName === undefined || target.port === portName);
  }

  #serveTcp(stream: ByteStream): void {
    this.#dialApplication(true).then(
      (over) => relay(stream, over, { idleMs: this.limits.idleMs, reset: this.transport.reset }, (end) => this.count(end)),
      (error: unknown) => {
        this.options.onApplicationDown?.(this.workload, error instanceof Error ? error : new Error(messageOf(error)));
        this.count('not-sent');
        this.transport.reset(stream);
      },
    );
  }

  #serveRequest(head: RequestHead, exchange: ServerExchange, caller: Caller): void {
    const own = this.options.svids.current()?.spiffeId;
    const { peer } = caller;
    const isForwarded = peer !== undefined && this.#isOwnGateway(peer);
    const from = isForwarded ? this.#forwardedCaller(head, peer) : peer;
    const clientCert = peer === undefined || from === undefined || own === undefined ? '' : isForwarded ? `${forwardedClientCert(peer.spiffeId, from)},${this.#clientCert(own, peer)}` : this.#clientCert(own, peer);
    const request = new InboundRequest(this, head, exchange, clientCert);
    this.front.active += 1;
    try {
      const refusal = this.#refusalOf(head, from, own !== undefined, isForwarded);
      if (refusal === undefined) request.sendTo(this.#poolFor(request));
      else request.answerOwn(refusal);
    } catch (error) {
      this.log.error('request failed', { detail: messageOf(error) });
      request.answerOwn({ status: 500, text: 'internal error' });
    }
  }

  /** Whom our own gateway names, if that is somebody whose trust domain is still trusted here. */
  #forwardedCaller(head: RequestHead, gateway: Peer): Peer | undefined {
    const from = readForwardedCaller(head.headers, gateway);
    return from !== undefined && this.options.bundles.get(from.trustDomain) !== undefined ? from : undefined;
  }

  #refusalOf(head: RequestHead, peer: Peer | undefined, hasIdentity: boolean, isForwarded: boolean): Verdict {
    if (peer === undefined || !hasIdentity) return { status: 403, text: 'no proven identity' };
    if (isForwarded && this.options.authorize?.(peer) === false) return { status: 403, text: `${peer.spiffeId} may not call ${this.service}` };
    const refusal = refusalOfForm(head);
    if (refusal !== undefined) return refusal;
    if (head.authority !== this.#goodAuthority) {
      if (isMisdirected(head.authority, this.workload.service, (name) => this.#isOwnName(name))) return { status: 421, text: `this is ${this.service}` };
      this.#goodAuthority = head.authority;
    }
    const { hooks, authorize } = this.options;
    // A connection may be older than the rule.
    if (authorize?.(peer) === false) return { status: 403, text: `${peer.spiffeId} may not call ${this.service}` };
    return hooks === undefined ? undefined : (hooks.authorize?.(head, peer) ?? hooks.limit?.(head, peer));
  }

  #poolFor(request: InboundRequest): ConnectionPool {
    const { protocol } = this.workload;
    // An `http` port speaks HTTP/1.1; a gRPC call that comes for it all the same cannot be said in that.
    return this.#pools[protocol === 'http2' || protocol === 'grpc' || request.isCall ? '2' : '1.1'];
  }

  retry(request: InboundRequest): void {
    request.sendTo(this.#poolFor(request));
  }

  #clientCert(own: string, peer: Peer): string {
    const known = this.#clientCerts.get(peer);
    if (known?.own === own) return known.value;
    const value = forwardedClientCert(own, peer);
    this.#clientCerts.set(peer, { own, value });
    return value;
  }

  async close(listener: TransportListener, drainMs: number): Promise<void> {
    listener.close();
    await drained(listener.open, this.front, drainMs, this.transport.clock);
    this.front.destroy();
    for (const stream of [...listener.open]) stream.destroy();
    this.#peers.close();
    for (const pool of Object.values(this.#pools)) pool.destroy();
  }
}

/** Attempts at the application, all of them before it got anything: more are the caller's side's to make. */
const ATTEMPTS = 3;
const UPGRADE_PAUSE_MS = 20;

class InboundRequest extends Forward {
  readonly #inbound: Inbound;
  readonly #clientCert: string;
  protected readonly believesPeer = false;
  #outcome: string | undefined;

  constructor(inbound: Inbound, head: RequestHead, exchange: ServerExchange, clientCert: string) {
    // The caller's side holds the time limit of a request, and its body in case it must be sent again.
    super({ head, exchange, clock: inbound.transport.clock, deadlines: undefined, replayBytes: 0 });
    this.#inbound = inbound;
    this.#clientCert = clientCert;
  }

  protected outgoing(): RequestHead {
    const { head } = this;
    const headers = withoutIdentity(head.headers);
    headers.push('x-forwarded-client-cert', this.#clientCert);
    if (this.callEndsMonotonicMs !== undefined) withGrpcTimeout(headers, this.callEndsMonotonicMs - this.clock.monotonicMs());
    const { method, target, authority, bodyBytes, upgrade } = head;
    const request = { method, target, authority, scheme: 'http' as const, headers, bodyBytes, expectsContinue: false };
    return upgrade === undefined ? request : { ...request, upgrade };
  }

  protected failed(why: AttemptFailure): void {
    const { service } = this.#inbound;
    // A connection that the application closed while it was unused: another one will do.
    if (why.kind === 'not-sent' && !why.isDial && this.attempts < ATTEMPTS && (this.body?.isReplayable ?? true)) {
      // An HTTP/2 connection does not take an upgrade before its other end has said that it does.
      return this.head.upgrade === undefined ? this.#inbound.retry(this) : this.inAWhile(UPGRADE_PAUSE_MS, () => this.#inbound.retry(this));
    }
    this.#outcome = why.kind;
    switch (why.kind) {
      case 'not-sent':
        return this.answerOwn({ status: 503, reason: 'UF', text: `the application of ${service} does not answer at its port`, extra: [UNPROCESSED_HEADER, '1'] });
      case 'unprocessed':
        return this.answerOwn({ status: 503, reason: 'UF', text: `the application of ${service} did not take the request`, extra: [UNPROCESSED_HEADER, '1'] });
      case 'full':
        return this.answerOwn({ status: 503, reason: 'UO', text: `too many requests wait for the application of ${service}`, extra: [UNPROCESSED_HEADER, '1'] });
      case 'malformed':
        return this.answerOwn({ status: 502, reason: 'UPE', text: `what the application of ${service} answered is not HTTP: ${why.detail}` });
      case 'failed':
        return this.answerOwn({ status: 503, reason: 'UC', text: `the application of ${service} closed the connection before it answered`, extra: [UNPROCESSED_HEADER, '0'] });
    }
  }

  protected timedOut(): void {
    // Without a limit here it never is.
  }

  protected done(outcome: Outcome): void {
    const inbound = this.#inbound;
    inbound.front.active -= 1;
    inbound.count(this.#outcome ?? (outcome === 'answered' ? String(this.status) : outcome));
    if (!inbound.log.isEnabled('debug')) return;
    const { method, target } = this.head;
    inbound.log.debug('request done', { method, path: target, outcome: this.#outcome ?? outcome, status: this.status, durationMs: Math.round(this.clock.monotonicMs() - this.startedMonotonicMs) });
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof IsthmusError)) return 'internal';
  const reason = error.facts['reason'];
  return typeof reason === 'string' ? reason : error.code === 'DATAPLANE_CONNECT_TIMEOUT' ? 'handshake-timeout' : 'handshake';
}
