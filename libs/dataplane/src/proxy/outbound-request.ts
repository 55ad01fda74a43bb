// One request out of a workload: its hooks, its attempts one after the other, and what its caller is told in the end.
import { mayRetry } from '@isthmus/decide';
import type { Endpoint, ServiceName } from '@isthmus/model';
import type { RequestHead, ServerExchange } from '../http/exchange.ts';
import { type AttemptFailure, Forward, type Outcome } from '../http/forward.ts';
import { CALLER_HEADER, forwardedCaller } from '../http/forwarded-caller.ts';
import type { Caller } from '../http/front.ts';
import { withGrpcTimeout } from '../http/grpc.ts';
import { HOPS_HEADER, hopsOf, MAX_HOPS, UNPROCESSED_HEADER, withoutOwn } from '../http/headers.ts';
import { type OutboundHooks, refusalOfForm } from '../http/hooks.ts';
import type { Peer } from '../tls/judge.ts';
import type { Destination } from '../upstream/connect.ts';
import type { EndpointPools, HttpVersion } from '../upstream/endpoint-pools.ts';
import type { ConnectionPool } from '../upstream/pool.ts';
import type { Outbound } from './outbound.ts';

/** A service port to be called: the listener's own, or where a hook sends a request. */
export type Target = { readonly service: ServiceName; readonly port: string };

/** An endpoint with what a request needs of it, made once for each snapshot. */
export class Place {
  readonly endpoint: Endpoint;
  readonly destination: Destination;
  readonly #pools: EndpointPools;
  readonly #known: Partial<Record<HttpVersion, ConnectionPool>> = {};

  constructor(endpoint: Endpoint, destination: Destination, pools: EndpointPools) {
    this.endpoint = endpoint;
    this.destination = destination;
    this.#pools = pools;
  }

  pool(version: HttpVersion): ConnectionPool {
    return (this.#known[version] ??= this.#pools.get(this.destination, version));
  }
}

export type Choice = { readonly kind: 'forward'; readonly place: Place } | { readonly kind: 'reject'; readonly reason: string };

/** Asks the listener where to go, and goes elsewhere while that is safe. */
export class OutboundRequest extends Forward {
  readonly #outbound: Outbound;
  /** What its caller speaks is tried at the endpoint, and in HTTP/2 only what the endpoint speaks too. */
  readonly #version: HttpVersion;
  protected readonly believesPeer = true;
  readonly #hops: number;
  /** Who calls, where that is proven. */
  readonly #peer: Peer | undefined;
  /** An attempt may have been acted on. */
  #mayHaveArrived = false;
  #sent: RequestHead;
  #target: Target | undefined;
  #place: Place | undefined;
  #tried: Set<string> | undefined;
  #last: string | undefined;
  #outcome: string | undefined;

  constructor(outbound: Outbound, head: RequestHead, exchange: ServerExchange, caller: Caller) {
    super({ head, exchange, clock: outbound.transport.clock, deadlines: outbound.deadlines, replayBytes: outbound.limits.replayBytes });
    this.#outbound = outbound;
    this.#version = caller.version;
    this.#peer = caller.peer;
    this.#sent = head;
    this.#hops = hopsOf(head.headers) + 1;
  }

  /** Asks the hooks, then makes the first attempt. */
  begin(hooks: OutboundHooks | undefined): void {
    const refusal = refusalOfForm(this.head);
    if (refusal !== undefined) return this.answerOwn(refusal);
    if (this.#hops > MAX_HOPS) return this.answerOwn({ status: 508, text: `the request has passed ${MAX_HOPS} proxies: it goes round in circles` });
    if (hooks !== undefined) {
      const full = hooks.limit?.(this.head, this.#peer);
      if (full !== undefined) return this.answerOwn(full);
      const routed = hooks.route?.(this.head);
      if (routed?.kind === 'answer') return this.answerOwn(routed.answer);
      if (routed !== undefined) {
        const { service, port } = this.#outbound.options;
        this.#sent = routed.to.head ?? this.head;
        this.#target = { service: routed.to.service ?? service, port: routed.to.port ?? port };
      }
    }
    this.#attempt();
  }

  #attempt(): void {
    if (this.isOver) return;
    const outbound = this.#outbound;
    const choice = outbound.choose(this.#tried, this.#target);
    if (choice.kind === 'forward') {
      this.#place = choice.place;
      return this.sendTo(choice.place.pool(this.#version));
    }
    const { service } = outbound;
    const reason = this.#last === undefined ? choice.reason : 'UF';
    this.#answer(503, reason, this.#last === undefined ? `no healthy endpoint of ${service}` : `${service} could not be reached: ${this.#last}`);
  }

  #answer(status: number, reason: string, text: string): void {
    this.#outcome = reason;
    // Between mesh peers: what never arrived may be sent again elsewhere, whatever the method.
    const extra = this.#outbound.options.isForPeers === true && status === 503 ? [UNPROCESSED_HEADER, this.#mayHaveArrived ? '0' : '1'] : [];
    this.answerOwn({ status, reason, text, extra });
  }

  protected outgoing(): RequestHead {
    const { method, target, authority, bodyBytes, upgrade, headers: given } = this.#sent;
    const clean = withoutOwn(given);
    const headers = clean === given ? given.slice() : (clean as string[]);
    headers.push(HOPS_HEADER, String(this.#hops));
    if (this.#peer !== undefined) headers.push(CALLER_HEADER, forwardedCaller(this.#peer));
    if (this.callEndsMonotonicMs !== undefined) withGrpcTimeout(headers, this.callEndsMonotonicMs - this.clock.monotonicMs());
    const request = { method, target, authority, scheme: 'https' as const, headers, bodyBytes, expectsContinue: false };
    return upgrade === undefined ? request : { ...request, upgrade };
  }

  protected failed(why: AttemptFailure): void {
    const outbound = this.#outbound;
    const { service, limits } = outbound;
    const id = this.#place?.endpoint.id ?? '';
    if (why.kind !== 'not-sent' && why.kind !== 'full') outbound.outliers.succeeded(id);
    this.#last = why.detail;
    if (why.kind === 'failed') this.#mayHaveArrived = true;
    if (why.kind === 'full') return this.#answer(503, 'UO', `too many requests wait for ${service}`);
    if (why.kind === 'malformed') return this.#answer(502, 'UPE', `what ${service} answered is not HTTP: ${why.detail}`);
    const question = {
      method: this.head.method,
      attempt: this.attempts,
      attempts: limits.attempts,
      sent: why.kind === 'not-sent' ? ('nothing' as const) : why.kind === 'unprocessed' ? ('unprocessed' as const) : ('some' as const),
      isAnswered: false,
      isReplayable: this.body?.isReplayable ?? true,
      withdraw: () => outbound.budget.withdraw(),
    };
    const verdict = outbound.options.hooks?.retry?.(question) ?? mayRetry(question);
    if (verdict !== 'yes') {
      const { attempts } = this;
      return this.#answer(503, why.kind === 'failed' ? 'UC' : 'UF', `${service} could not be reached in ${attempts} attempt${attempts === 1 ? '' : 's'}: ${why.detail}`);
    }
    outbound.countRetry(why.kind);
    (this.#tried ??= new Set()).add(id);
    this.inAWhile(outbound.backoffMs(this.attempts), () => this.#attempt());
  }

  protected timedOut(): void {
    this.#answer(504, 'UT', `${this.#outbound.service} did not answer within ${this.#outbound.limits.requestMs} ms`);
  }

  protected done(outcome: Outcome): void {
    const outbound = this.#outbound;
    outbound.front.active -= 1;
    if (outcome === 'done' || outcome === 'upgraded') outbound.outliers.succeeded(this.#place?.endpoint.id ?? '');
    outbound.count(this.#outcome ?? (outcome === 'answered' ? String(this.status) : outcome));
    if (!outbound.log.isEnabled('debug')) return;
    const { method, target } = this.head;
    outbound.log.debug('request done', {
      method, path: target, outcome: this.#outcome ?? outcome, attempts: this.attempts, endpoint: this.#place?.endpoint.id ?? '', status: this.status,
      durationMs: Math.round(this.clock.monotonicMs() - this.startedMonotonicMs),
    });
  }
}
