// Out of a workload: plain in, mutual TLS out to the nearest healthy endpoint; retried elsewhere while that is safe.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Engine, mayRetry } from '@isthmus/decide';
import { type Endpoint, formatServiceName, IsthmusError, messageOf, type Protocol, type ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { type Clock, type Random, RetryBudget, systemClock, systemRandom } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { forwardRequest, type ForwardOutcome } from '../http/forward.ts';
import { endToEnd, originForm, UNPROCESSED_HEADER } from '../http/headers.ts';
import { ReplayBody } from '../http/replay-body.ts';
import { answer, answerSocket, openHttpServer } from '../http/server.ts';
import { finishUpgrade, requestUpgrade } from '../http/upgrade.ts';
import { relayTls } from '../tls/relay-tls.ts';
import { type Destination, destinationOf, dial } from '../upstream/connect.ts';
import { Outliers } from '../upstream/outlier.ts';
import { openEndpointPools } from '../upstream/pool.ts';
import { drained } from './drain.ts';
import { listenOn, type ListenAddress } from './listen.ts';

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
  /** Connections to one endpoint. */
  readonly endpointConnections: number;
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
};

export type OutboundOptions = {
  readonly listen: ListenAddress;
  readonly service: ServiceName;
  /** The service port's name. This and `protocol` are read at each connection: a getter may follow the snapshot. */
  readonly port: string;
  readonly protocol: Protocol;
  /** The engine compiled from the snapshot in force; asked for every connection and request. */
  readonly engine: () => Engine;
  /** The identity the calls are made as. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  readonly limits?: Partial<OutboundLimits>;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log: Log;
  readonly metrics: Metrics;
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

type Choice =
  | { readonly kind: 'forward'; readonly endpoint: Endpoint; readonly tier: number; readonly destination: Destination }
  | { readonly kind: 'reject'; readonly reason: string };

const HTTP2_PREFACE = Buffer.from('PRI ');
const BACKOFF_BASE_MS = 25;

/** Opens the outbound listener of one service port. **Throws** DATAPLANE_LISTEN_FAILED. */
export async function startOutbound(options: OutboundOptions): Promise<OutboundListener> {
  const { metrics } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const limits = { ...OUTBOUND_LIMITS, ...options.limits };
  const service = formatServiceName(options.service);
  const log = options.log.with({ service, direction: 'outbound' });
  const requests = metrics.counter('isthmus_outbound_requests_total', 'Requests and connections of local callers, by how they ended', ['service', 'outcome']);
  const retries = metrics.counter('isthmus_outbound_retries_total', 'Attempts made again on another endpoint', ['service', 'cause']);
  const peerRefused = metrics.counter('isthmus_outbound_peer_refused_total', 'Endpoints that did not prove the identity they should have', ['service', 'reason']);
  const dialOptions = { svids: options.svids, bundles: options.bundles, timeoutMs: limits.connectMs, clock };
  const pools = openEndpointPools({ ...dialOptions, connections: limits.endpointConnections, keepAliveMs: limits.keepAliveMs });
  const outliers = new Outliers({ nowMs: () => clock.monotonicMs(), random });
  // 20 % of requests, and at least ten a second, may be sent a second time after they may have been received (facts 4).
  const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 10, windowMs: 10_000, clock });

  let engine: Engine | undefined;
  /** The engine in force; when it is a new one, connections of endpoints that are gone drain. */
  function currentEngine(): Engine {
    const now = options.engine();
    if (now !== engine) {
      engine = now;
      const endpoints = now.service(options.service)?.endpoints ?? [];
      outliers.retain(new Set(endpoints.map((e) => e.id)));
      pools.retain(endpoints.flatMap((e) => destinationOf(options.service, options.port, e) ?? []));
    }
    return now;
  }

  /**
   * An endpoint not tried yet for this request and not ejected; failing that an ejected one; failing that any again: a
   * gateway endpoint hides several instances, and a second attempt there may well reach another one.
   */
  function choose(exclude: ReadonlySet<string>): Choice {
    const now = currentEngine();
    const ask = (excluded: ReadonlySet<string>, unavailable: (id: string) => boolean): Choice => {
      const picked = now.pick({ service: options.service, port: options.port, exclude: excluded, unavailable, random });
      if (picked.kind === 'reject') return picked;
      const destination = destinationOf(options.service, options.port, picked.endpoint);
      return destination === undefined ? { kind: 'reject', reason: 'UH' } : { ...picked, destination };
    };
    let choice = ask(exclude, (id) => outliers.isEjected(id));
    if (choice.kind === 'reject') choice = ask(exclude, () => false);
    if (choice.kind === 'reject' && exclude.size > 0) choice = ask(new Set(), () => false);
    return choice;
  }

  /** Notes why an endpoint could not be connected to. A wrong identity is never passed over in silence. */
  function noteConnectFailure(d: Destination, error: Error): void {
    if (error instanceof IsthmusError && error.code === 'DATAPLANE_PEER_REFUSED') {
      peerRefused.inc({ service, reason: String(error.facts['reason'] ?? 'unknown') });
      log.warn('endpoint refused', { endpoint: d.endpoint, reason: String(error.facts['reason'] ?? ''), detail: error.message });
    }
    if (outliers.failed(d.endpoint)) log.info('endpoint ejected', { endpoint: d.endpoint, detail: error.message });
  }

  /** Full jitter, doubling: 0–25 ms before the first retry. */
  const pause = (attempt: number): Promise<void> => clock.sleep(Math.floor(random() * BACKOFF_BASE_MS * 2 ** (attempt - 1)));

  async function serveRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = clock.monotonicMs();
    const method = request.method ?? 'GET';
    const path = originForm(request.url ?? '/');
    if (path === undefined) return answer(response, 400, undefined, 'the request target names no path');
    const headers = endToEnd(request.rawHeaders);
    const body = hasBody(request) ? new ReplayBody(request, limits.replayBytes) : undefined;
    const exclude = new Set<string>();
    let last = '';
    let lastEndpoint = '';
    budget.deposit();

    const finish = (outcome: string, attempts: number): void => {
      requests.inc({ service, outcome });
      log.debug('request done', { method, path, outcome, attempts, endpoint: lastEndpoint, status: response.statusCode, durationMs: Math.round(clock.monotonicMs() - startedMs) });
      if (body !== undefined && !request.complete) body.discard();
    };

    for (let attempt = 1; ; attempt++) {
      const choice = choose(exclude);
      if (choice.kind === 'reject') {
        const reason = last === '' ? choice.reason : 'UF';
        answer(response, 503, reason, last === '' ? `no healthy endpoint of ${service}` : `${service} could not be reached: ${last}`);
        return finish(reason, attempt - 1);
      }
      const { destination, endpoint } = choice;
      lastEndpoint = endpoint.id;
      const leftMs = limits.requestMs - (clock.monotonicMs() - startedMs);
      const outcome: ForwardOutcome = leftMs <= 0
        ? { kind: 'timeout' }
        : await forwardRequest({
            to: pools.get(destination), method, path, headers, body: body?.open(), response,
            limitMs: leftMs, idleMs: limits.idleMs, meshPeer: true, clock,
          });
      if (outcome.kind !== 'not-sent') outliers.succeeded(endpoint.id);

      switch (outcome.kind) {
        case 'done':
        case 'broken':
        case 'caller-gone':
          return finish(outcome.kind, attempt);
        case 'timeout':
          answer(response, 504, 'UT', `${service} did not answer within ${limits.requestMs} ms`);
          return finish('UT', attempt);
        case 'invalid':
          answer(response, 400, undefined, `the request cannot be passed on: ${outcome.error.message}`);
          return finish('invalid', attempt);
        case 'not-sent':
          noteConnectFailure(destination, outcome.error);
          last = outcome.error.message;
          break;
        case 'unprocessed':
          last = 'its application does not answer at its port';
          break;
        case 'failed':
          last = outcome.error.message;
          break;
      }
      const verdict = mayRetry({
        method, attempt, attempts: limits.attempts,
        sent: outcome.kind === 'not-sent' ? 'nothing' : outcome.kind === 'unprocessed' ? 'unprocessed' : 'some',
        isAnswered: response.headersSent,
        isReplayable: body === undefined || body.replayable,
        withdraw: () => budget.withdraw(),
      });
      if (verdict !== 'yes') {
        const reason = outcome.kind === 'failed' ? 'UC' : 'UF';
        answer(response, 503, reason, `${service} could not be reached in ${attempt} attempt${attempt === 1 ? '' : 's'}: ${last}`);
        return finish(reason, attempt);
      }
      retries.inc({ service, cause: outcome.kind });
      exclude.add(endpoint.id);
      body?.detach();
      await pause(attempt);
    }
  }

  /** A verified connection to some endpoint, before anything is sent; undefined when there is none to be had. */
  async function connectSomewhere(exclude: Set<string>): Promise<{ socket: TLSSocket; destination: Destination } | { reason: string; detail: string }> {
    let detail = `no healthy endpoint of ${service}`;
    for (let attempt = 1; ; attempt++) {
      const choice = choose(exclude);
      if (choice.kind === 'reject') return { reason: attempt === 1 ? choice.reason : 'UF', detail };
      try {
        const socket = await dial(choice.destination, { ...dialOptions, allowHalfOpen: true });
        outliers.succeeded(choice.endpoint.id);
        return { socket, destination: choice.destination };
      } catch (error) {
        detail = messageOf(error);
        noteConnectFailure(choice.destination, error instanceof Error ? error : new Error(detail));
        if (attempt >= limits.attempts) return { reason: 'UF', detail };
        retries.inc({ service, cause: 'not-sent' });
        exclude.add(choice.endpoint.id);
        await pause(attempt);
      }
    }
  }

  async function serveUpgrade(request: IncomingMessage, socket: Socket, first: Buffer): Promise<void> {
    const headers = endToEnd(request.rawHeaders);
    const exclude = new Set<string>();
    for (let attempt = 1; ; attempt++) {
      const connected = await connectSomewhere(exclude);
      if ('reason' in connected) {
        requests.inc({ service, outcome: connected.reason });
        return answerSocket(socket, 503, connected.reason, connected.detail);
      }
      const answered = await requestUpgrade(connected.socket, request, headers, limits.requestMs);
      if (answered.kind === 'failed') {
        connected.socket.destroy();
        requests.inc({ service, outcome: 'UC' });
        return answerSocket(socket, 503, 'UC', `${service} closed the connection before it answered`);
      }
      if (answered.kind === 'response' && answered.head.headers[UNPROCESSED_HEADER] === '1' && attempt < limits.attempts) {
        connected.socket.destroy();
        exclude.add(connected.destination.endpoint);
        retries.inc({ service, cause: 'unprocessed' });
        await pause(attempt);
        continue;
      }
      requests.inc({ service, outcome: answered.kind });
      await finishUpgrade(socket, first, answered, limits.idleMs);
      return;
    }
  }

  async function serveTcp(raw: Socket): Promise<void> {
    const connected = await connectSomewhere(new Set());
    if ('reason' in connected) {
      requests.inc({ service, outcome: connected.reason });
      log.debug('connection refused', { reason: connected.reason, detail: connected.detail });
      return void raw.resetAndDestroy();
    }
    const end = await relayTls(raw, connected.socket, { idleMs: limits.idleMs });
    requests.inc({ service, outcome: end });
    log.debug('connection done', { endpoint: connected.destination.endpoint, outcome: end });
  }

  const http = openHttpServer({ headersTimeoutMs: limits.headersMs, keepAliveMs: limits.keepAliveMs * 2, idleMs: limits.idleMs, log, onRequest: serveRequest, onUpgrade: serveUpgrade });

  async function serve(raw: Socket): Promise<void> {
    raw.on('error', () => undefined);
    if (options.protocol === 'http' && !(await beginsLikeHttp2(raw, limits.keepAliveMs * 2))) http.take(raw);
    else await serveTcp(raw);
  }

  const tcp = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000, allowHalfOpen: true });
  tcp.maxConnections = limits.connections;
  const open = new Set<Socket>();
  tcp.on('connection', (raw) => {
    open.add(raw);
    raw.once('close', () => open.delete(raw));
    serve(raw).catch((error: unknown) => {
      log.error('outbound connection failed', { detail: messageOf(error) });
      raw.destroy();
    });
  });
  const bound = await listenOn(tcp, options.listen, `outbound listener of ${service}`);

  let closing: Promise<void> | undefined;
  return {
    ...bound,
    service: options.service,
    get servicePort() {
      return options.port;
    },
    get connections() {
      return open.size;
    },
    close: ({ drainMs = 0 } = {}) => {
      closing ??= (async () => {
        tcp.close();
        await drained(open, http, drainMs, clock);
        http.close();
        for (const socket of open) socket.destroy();
        await pools.close();
      })();
      return closing;
    },
  };
}

function hasBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

/**
 * Looks at the first bytes without taking them: HTTP/2 with prior knowledge (gRPC) is relayed as bytes until it has its
 * own path. A connection that says nothing within the limit is closed. Source: RFC 9113 §3.4.
 */
function beginsLikeHttp2(raw: Socket, limitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const settle = (is: boolean): void => {
      raw.setTimeout(0);
      raw.off('readable', look);
      raw.off('timeout', onTimeout);
      raw.off('end', onEnd);
      raw.off('close', onEnd);
      if (seen.length > 0 && !raw.destroyed) raw.unshift(seen);
      resolve(is);
    };
    const onTimeout = (): void => void raw.destroy();
    const onEnd = (): void => settle(false);
    const look = (): void => {
      const chunk = raw.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const head = seen.subarray(0, HTTP2_PREFACE.length);
      if (!HTTP2_PREFACE.subarray(0, head.length).equals(head)) settle(false);
      else if (head.length === HTTP2_PREFACE.length) settle(true);
    };
    raw.setTimeout(limitMs);
    raw.on('timeout', onTimeout);
    raw.on('readable', look);
    raw.on('end', onEnd);
    raw.on('close', onEnd);
  });
}
