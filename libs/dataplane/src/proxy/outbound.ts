// Out of a workload: plain in, mutual TLS out to the nearest healthy endpoint; retried elsewhere while that is safe.
import type { CompiledService, Engine } from '@isthmus/decide';
import { type Endpoint, formatServiceName, IsthmusError, messageOf, type Protocol, type ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { type Clock, type Random, RetryBudget, systemRandom } from '@isthmus/runtime';
import type { BoundCounter, Counter, Log, Metrics } from '@isthmus/telemetry';
import { Deadlines } from '../http/deadlines.ts';
import { HTTP_LIMITS, type HttpLimits, type RequestHead, type ServerExchange } from '../http/exchange.ts';
import { type Caller, Front } from '../http/front.ts';
import type { OutboundHooks } from '../http/hooks.ts';
import { Overload } from '../http/overload.ts';
import type { Peer } from '../tls/judge.ts';
import { OpenPeers } from '../tls/open-peers.ts';
import { portableTransport } from '../transport/portable.ts';
import type { ByteStream, Transport, TransportListener } from '../transport/transport.ts';
import { type Destination, destinationOf, dial, dialHttp, type DialOptions } from '../upstream/connect.ts';
import { EndpointPools, type HttpVersion } from '../upstream/endpoint-pools.ts';
import { Outliers } from '../upstream/outlier.ts';
import { drained } from './drain.ts';
import type { ListenAddress } from './listen.ts';
import { type Choice, OutboundRequest, Place, type Target } from './outbound-request.ts';
import { relay } from './relay.ts';

export type OutboundLimits = {
  /** TCP connect and TLS handshake of one attempt. */
  readonly connectMs: number;
  /** From the request's head to the answer's head, all attempts together. */
  readonly requestMs: number;
  readonly headersMs: number;
  readonly idleMs: number;
  readonly keepAliveMs: number;
  readonly attempts: number;
  /** Largest request body that can be sent a second time. Source: facts 4, Linkerd. */
  readonly replayBytes: number;
  /** Callers' connections at this listener. */
  readonly connections: number;
  /** Connections to one endpoint, in each version of HTTP. */
  readonly endpointConnections: number;
  /** Requests that may wait for a connection to one endpoint. */
  readonly queue: number;
  /** Requests under way at once; more are refused with 503. */
  readonly requests: number;
};

export const OUTBOUND_LIMITS: OutboundLimits = {
  connectMs: 1_500,
  requestMs: 60_000,
  headersMs: 10_000,
  idleMs: 3_600_000,
  keepAliveMs: 30_000,
  attempts: 5,
  replayBytes: 65_536,
  connections: 4_096,
  endpointConnections: 512,
  queue: 4_096,
  requests: 16_384,
};

export type OutboundOptions = {
  readonly listen: ListenAddress;
  readonly service: ServiceName;
  /** The service port's name. This and `protocol` are read at each connection: a getter may follow the snapshot. */
  readonly port: string;
  readonly protocol: Protocol;
  /** The engine compiled from the snapshot in force; asked for every connection and request. */
  readonly engine: () => Engine;
  /** Tells of every new engine until called off: idle connections leave endpoints that are gone. Without it they do with the next call. */
  readonly onEngine?: (fn: () => void) => () => void;
  /** The identity the calls are made as. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Decisions about single requests. */
  readonly hooks?: OutboundHooks;
  readonly limits?: Partial<OutboundLimits>;
  /** Whose connections these are; Node's own without it. */
  readonly transport?: Transport;
  /** The clock of the transport made here where none is given. */
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** What calls need, wherever the callers come from. */
export type OutboundCalls = Omit<OutboundOptions, 'listen'> & {
  /** The callers are mesh peers and came over mutual TLS: endpoints are told who each one is, and the caller what may be sent again. */
  readonly isForPeers?: boolean;
};

export interface OutboundListener {
  readonly service: ServiceName;
  readonly servicePort: string;
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Stops accepting, lets requests finish for so long, then cuts what is left. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

const BACKOFF_BASE_MS = 25;
const NONE: ReadonlySet<string> = new Set();
const nobody = (): boolean => false;

/** Opens the outbound listener of one service port. **Throws** DATAPLANE_LISTEN_FAILED. */
export async function startOutbound(options: OutboundOptions): Promise<OutboundListener> {
  const outbound = new Outbound(options);
  const listener = await outbound.transport.listen(
    {
      listen: options.listen,
      label: `outbound listener of ${outbound.service}`,
      allowHalfOpen: true,
      connections: outbound.limits.connections,
      onExhausted: () => outbound.log.error('no descriptor left: accepting rests', { connections: listener.open.size }),
    },
    (stream) => outbound.serve(stream),
  );
  let closing: Promise<void> | undefined;
  return {
    host: listener.host,
    port: listener.port,
    service: options.service,
    get servicePort() {
      return options.port;
    },
    get connections() {
      return listener.open.size;
    },
    close: ({ drainMs = 0 } = {}) => (closing ??= closeListener(listener, outbound, drainMs)),
  };
}

/** Calls to one service port for whoever is handed to it. **Owns** the connections to endpoints and those it was handed. */
export class Outbound {
  readonly options: OutboundCalls;
  readonly transport: Transport;
  readonly limits: OutboundLimits;
  readonly service: string;
  readonly log: Log;
  readonly front: Front;
  readonly random: Random;
  readonly deadlines: Deadlines;
  // 20 % of requests, and at least ten a second, may be sent a second time after they may have been received (facts 4).
  readonly budget: RetryBudget;
  readonly outliers: Outliers;
  readonly #requests: Counter;
  readonly #retries: Counter;
  readonly #peerRefused: Counter;
  readonly #counted = new Map<string, BoundCounter>();
  readonly #dialOptions: DialOptions;
  readonly #peers: OpenPeers;
  readonly #pools: EndpointPools;
  readonly #isEjected = (id: string): boolean => this.outliers.isEjected(id);
  readonly #stopFollowing: (() => void) | undefined;
  #engine: Engine | undefined;
  #compiled: CompiledService | undefined;
  /** By endpoint, of the engine and the SVID in force and the listener's own service port. */
  #places = new Map<Endpoint, Place>();
  #placesPort = '';

  constructor(options: OutboundCalls) {
    const { metrics, svids, bundles } = options;
    this.options = options;
    this.transport = options.transport ?? portableTransport(options.clock);
    this.random = options.random ?? systemRandom;
    this.limits = { ...OUTBOUND_LIMITS, ...options.limits };
    const { transport, limits } = this;
    const { clock } = transport;
    this.service = formatServiceName(options.service);
    this.log = options.log.with({ service: this.service, direction: 'outbound' });
    this.#requests = metrics.counter('isthmus_outbound_requests_total', 'Requests and connections of local callers, by how they ended', ['service', 'outcome']);
    this.#retries = metrics.counter('isthmus_outbound_retries_total', 'Attempts made again on another endpoint', ['service', 'cause']);
    this.#peerRefused = metrics.counter('isthmus_outbound_peer_refused_total', 'Endpoints that did not prove the identity they should have', ['service', 'reason']);
    this.deadlines = new Deadlines(clock, limits.requestMs);
    this.outliers = new Outliers({ nowMs: () => clock.monotonicMs(), random: this.random });
    this.budget = new RetryBudget({ ratio: 0.2, minPerSecond: 10, windowMs: 10_000, clock });
    this.#peers = new OpenPeers({
      bundles,
      clock,
      close: transport.reset,
      onClosed: (peer, reason, connections) => {
        this.#peerRefused.inc({ service: this.service, reason }, connections);
        this.log.warn('connections closed: their other end is trusted no longer', { spiffeId: peer.spiffeId, reason, connections });
      },
    });
    this.#dialOptions = { transport, svids, bundles, timeoutMs: limits.connectMs, peers: this.#peers };
    const http: HttpLimits = { ...HTTP_LIMITS, headMs: limits.headersMs, keepAliveMs: limits.keepAliveMs * 2, idleMs: limits.idleMs };
    this.#pools = new EndpointPools({
      dial: (destination, version) => dialHttp(destination, version, http, this.#dialOptions),
      connections: limits.endpointConnections,
      queue: limits.queue,
      svids,
      bundles,
      clock,
      keepAliveMs: limits.keepAliveMs,
      onDialFailed: (destination, error) => this.#noteConnectFailure(destination, error),
    });
    this.#pools.onDrain = () => (this.#places = new Map());
    this.#stopFollowing = options.onEngine?.(() => void this.#currentEngine());
    this.front = new Front({
      limits: http,
      clock,
      scheme: options.isForPeers === true ? 'https' : 'http',
      log: this.log,
      overload: new Overload({ clock, requests: limits.requests }),
      reset: transport.reset,
      onRequest: (head, exchange, caller) => this.#serveRequest(head, exchange, caller),
      onRefused: (code, detail) => {
        this.count(code);
        this.log.debug('malformed request refused', { code, detail });
      },
    });
  }

  /** Counts an ended request or connection. */
  count(outcome: string): void {
    let counter = this.#counted.get(outcome);
    if (counter === undefined) this.#counted.set(outcome, (counter = this.#requests.bind({ service: this.service, outcome })));
    counter.inc();
  }

  countRetry(cause: string): void {
    this.#retries.inc({ service: this.service, cause });
  }

  /** The engine in force; when it is a new one, connections of endpoints that are gone drain. */
  #currentEngine(): Engine {
    const now = this.options.engine();
    if (now !== this.#engine) {
      this.#engine = now;
      const compiled = now.service(this.options.service);
      if (compiled !== this.#compiled) this.#retain((this.#compiled = compiled)?.endpoints ?? []);
    }
    return now;
  }

  #retain(endpoints: readonly Endpoint[]): void {
    const { service, port } = this.options;
    this.outliers.retain(new Set(endpoints.map((e) => e.id)));
    this.#pools.retain(endpoints.flatMap((e) => destinationOf(service, port, e) ?? []));
  }

  /**
   * An endpoint not tried yet for this request and not ejected; failing that an ejected one; failing that any again: a
   * gateway endpoint hides several instances, and a second attempt there may well reach another one.
   */
  choose(exclude: ReadonlySet<string> = NONE, target: Target = this.options): Choice {
    const now = this.#currentEngine();
    let choice = this.#ask(now, target, exclude, this.#isEjected);
    if (choice.kind === 'reject') choice = this.#ask(now, target, exclude, nobody);
    if (choice.kind === 'reject' && exclude.size > 0) choice = this.#ask(now, target, NONE, nobody);
    return choice;
  }

  #ask(engine: Engine, { service, port }: Target, exclude: ReadonlySet<string>, unavailable: (id: string) => boolean): Choice {
    const picked = engine.pick({ service, port, exclude, unavailable, random: this.random });
    if (picked.kind === 'reject') return picked;
    const place = this.#placeOf(picked.endpoint, service, port);
    return place === undefined ? { kind: 'reject', reason: 'UH' } : { kind: 'forward', place };
  }

  #placeOf(endpoint: Endpoint, service: ServiceName, port: string): Place | undefined {
    if (port !== this.#placesPort) {
      this.#placesPort = port;
      this.#places.clear();
    }
    let place = this.#places.get(endpoint);
    if (place === undefined) {
      const destination = destinationOf(service, port, endpoint);
      if (destination === undefined) return undefined;
      place = new Place(endpoint, destination, this.#pools);
      this.#places.set(endpoint, place);
    }
    return place;
  }

  /** Notes why an endpoint could not be connected to. A wrong identity is never passed over in silence. */
  #noteConnectFailure(d: Destination, error: Error): void {
    if (error instanceof IsthmusError && error.code === 'DATAPLANE_PEER_REFUSED') {
      const reason = String(error.facts['reason'] ?? 'unknown');
      this.#peerRefused.inc({ service: this.service, reason });
      this.log.warn('endpoint refused', { endpoint: d.endpoint, reason, detail: error.message });
    }
    if (this.outliers.failed(d.endpoint)) this.log.info('endpoint ejected', { endpoint: d.endpoint, detail: error.message });
  }

  /** Full jitter, doubling: 0–25 ms before the first retry. */
  backoffMs(attempt: number): number {
    return Math.floor(this.random() * BACKOFF_BASE_MS * 2 ** (attempt - 1));
  }

  serve(stream: ByteStream): void {
    if (this.options.protocol === 'tcp') this.#serveTcp(stream, 1, new Set());
    else this.front.takeUnknown(stream, undefined);
  }

  /** Takes over a connection of a mesh peer, in the version that ALPN settled. */
  servePeer(stream: ByteStream, version: HttpVersion | undefined, peer: Peer): void {
    if (version === undefined) this.front.takeUnknown(stream, peer);
    else this.front.take(stream, version, peer);
  }

  #serveRequest(head: RequestHead, exchange: ServerExchange, caller: Caller): void {
    const request = new OutboundRequest(this, head, exchange, caller);
    this.front.active += 1;
    this.budget.deposit();
    try {
      request.begin(this.options.hooks);
    } catch (error) {
      this.log.error('request failed', { detail: messageOf(error) });
      request.answerOwn({ status: 500, text: 'internal error' });
    }
  }

  /** Connects to one endpoint after another until there is a verified connection; nothing is sent before. */
  #serveTcp(stream: ByteStream, attempt: number, exclude: Set<string>): void {
    const choice = this.choose(exclude);
    if (choice.kind === 'reject') return this.#refuseTcp(stream, attempt === 1 ? choice.reason : 'UF', `no healthy endpoint of ${this.service}`);
    const { destination, endpoint } = choice.place;
    dial(destination, this.#dialOptions, { allowHalfOpen: true }).then(
      ({ stream: over }) => {
        this.outliers.succeeded(endpoint.id);
        relay(stream, over, { idleMs: this.limits.idleMs, reset: this.transport.reset }, (end) => {
          this.count(end);
          this.log.debug('connection done', { endpoint: endpoint.id, outcome: end });
        });
      },
      (error: unknown) => {
        this.#noteConnectFailure(destination, error instanceof Error ? error : new Error(messageOf(error)));
        if (attempt >= this.limits.attempts) return this.#refuseTcp(stream, 'UF', messageOf(error));
        this.countRetry('not-sent');
        exclude.add(endpoint.id);
        this.transport.clock.setTimer(this.backoffMs(attempt), () => {
          if (stream.destroyed) this.count('reset');
          else this.#serveTcp(stream, attempt + 1, exclude);
        });
      },
    );
  }

  #refuseTcp(stream: ByteStream, reason: string, detail: string): void {
    this.count(reason);
    this.log.debug('connection refused', { reason, detail });
    this.transport.reset(stream);
  }

  /** Lets the requests on `open`, the callers' connections, finish for so long, then cuts what is left. */
  async close(open: ReadonlySet<ByteStream>, drainMs: number): Promise<void> {
    await drained(open, this.front, drainMs, this.transport.clock);
    this.#stopFollowing?.();
    this.front.destroy();
    for (const stream of [...open]) stream.destroy();
    this.#peers.close();
    this.#pools.close();
    this.deadlines.close();
  }
}

async function closeListener(listener: TransportListener, outbound: Outbound, drainMs: number): Promise<void> {
  listener.close();
  await outbound.close(listener.open, drainMs);
}
