// One request on its way: sent to a connection, its answer streamed back, and how each attempt ended, to those who decide what then.
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { ConnectionPool, ConnectionTaker, PoolRefusal } from '../upstream/pool.ts';
import { answer, type OwnAnswer } from './answer.ts';
import type { Deadlines, Limited } from './deadlines.ts';
import type { Abort, ClientConnection, ClientExchange, HeaderList, RequestHead, ResponseHead, ResponseSink, ServerExchange } from './exchange.ts';
import { GRPC_STATUS, grpcTimeoutMs, grpcTrailers, isGrpc } from './grpc.ts';
import { UNPROCESSED_HEADER, valueOfField, withoutOwn } from './headers.ts';
import { type BodyOwner, RequestBody } from './request-body.ts';
import { upgradedFor, upgradeFor } from './websocket.ts';

/**
 * How an attempt failed before any answer began. `not-sent`: no byte of the request left; `unprocessed`: the other end says that
 * its application never got it; `failed`: it was sent; `malformed`: what came back is not HTTP; `full`: too many wait already.
 */
export type AttemptFailure = { readonly kind: 'not-sent' | 'unprocessed' | 'failed' | 'malformed' | 'full'; readonly detail: string; /** Connecting itself failed. */ readonly isDial?: boolean };

/** `broken`: the answer began and was cut off, and so was the caller. `answered`: by Isthmus itself. */
export type Outcome = 'done' | 'upgraded' | 'broken' | 'caller-gone' | 'answered';

export type ForwardOptions = {
  readonly head: RequestHead;
  readonly exchange: ServerExchange;
  readonly clock: Clock;
  /** The limit until the answer's head, all attempts together. */
  readonly deadlines: Deadlines | undefined;
  /** Largest body that can be sent a second time. */
  readonly replayBytes: number;
};

/** What a peer sends behind its report that it has no answer; more is no report. */
const MAX_DISCARDED_BYTES = 65_536;

/**
 * One request through a proxy, over any number of attempts, one at a time. Those who extend it choose the pool and what a
 * failure comes to. No late call: after `done` nothing reaches the caller's or the endpoint's side any more.
 */
export abstract class Forward implements ResponseSink, ConnectionTaker, BodyOwner, Limited {
  readonly head: RequestHead;
  readonly exchange: ServerExchange;
  readonly isCall: boolean;
  readonly startedMonotonicMs: number;
  /** When the caller of a gRPC call gives up; undefined where it does not say. */
  readonly callEndsMonotonicMs: number | undefined;
  protected readonly clock: Clock;
  /** Attempts begun. */
  attempts = 0;
  /** The status answered; 0 before. */
  status = 0;
  isOver = false;
  expiresMonotonicMs = 0;
  earlier: Limited | undefined;
  later: Limited | undefined;
  readonly #deadlines: Deadlines | undefined;
  readonly body: RequestBody | undefined;
  #tunnel: RequestBody | undefined;
  #pool: ConnectionPool | undefined;
  #client: ClientExchange | undefined;
  #timer: TimerHandle | undefined;
  #callTimer: TimerHandle | undefined;
  /** Counts attempts that ended: an attempt may end within the call that begins it. */
  #ended = 0;
  #hasResponse = false;
  #hasUpstreamEnded = false;
  /** Set when the peer itself reports that it could not get an answer: its body is not for the caller. */
  #report: AttemptFailure | undefined;
  #discardedBytes = 0;

  constructor({ head, exchange, clock, deadlines, replayBytes }: ForwardOptions) {
    this.head = head;
    this.exchange = exchange;
    this.clock = clock;
    this.#deadlines = deadlines;
    this.isCall = isGrpc(head.headers);
    this.startedMonotonicMs = clock.monotonicMs();
    this.body = head.bodyBytes === 0 ? undefined : new RequestBody(exchange, head, this, replayBytes);
    exchange.onAbort = (why) => this.callerGone(why);
    deadlines?.add(this, this.startedMonotonicMs);
    const timeoutMs = this.isCall ? grpcTimeoutMs(head.headers) : undefined;
    if (timeoutMs !== undefined) {
      this.callEndsMonotonicMs = this.startedMonotonicMs + timeoutMs;
      this.#callTimer = clock.setTimer(timeoutMs, () => this.#callExpired());
    }
  }

  /** The request as it leaves here on this connection. */
  protected abstract outgoing(connection: ClientConnection): RequestHead;
  /** An attempt ended before any answer: to be answered, or sent to another pool. */
  protected abstract failed(why: AttemptFailure): void;
  /** The time until the answer's head is over. */
  protected abstract timedOut(): void;
  /** It is over; called once. */
  protected abstract done(outcome: Outcome): void;
  /** Whether the other end is a mesh peer, whose x-isthmus-unprocessed may be believed. */
  protected abstract readonly believesPeer: boolean;

  /** Begins an attempt. */
  sendTo(pool: ConnectionPool): void {
    this.attempts += 1;
    this.#pool = pool;
    pool.take(this);
  }

  /** Calls `fn` once after `delayMs`, unless it is over before. */
  inAWhile(delayMs: number, fn: () => void): void {
    this.#timer = this.clock.setTimer(delayMs, fn);
  }

  /** Isthmus' own answer; nothing was answered before. */
  answerOwn(own: OwnAnswer): void {
    if (this.isOver || this.#hasResponse) return;
    this.status = own.status;
    answer(this.exchange, this.head, own, this.isCall);
    this.#finish('answered');
  }

  taken(connection: ClientConnection): void {
    this.#pool = undefined;
    const ended = this.#ended;
    const { body } = this;
    let head = this.outgoing(connection);
    if (head.upgrade !== undefined) head = upgradeFor(connection.version, head);
    // An upgrade's bytes come behind the answer: HTTP/1.1 ends the request before them, a stream of HTTP/2 stays open.
    const client = connection.request(head, body === undefined && (head.upgrade === undefined || connection.version === '1.1'), this);
    if (this.#ended !== ended) return;
    this.#client = client;
    body?.attach(client);
  }

  refused(why: PoolRefusal): void {
    this.#pool = undefined;
    this.failed({ kind: why.kind === 'full' ? 'full' : 'not-sent', detail: why.error.message, isDial: why.kind === 'dial' });
  }

  inform(head: ResponseHead): void {
    if (this.isOver || head.status === 100) return; // the caller was told when its body was asked for
    this.exchange.inform({ status: head.status, headers: withoutOwn(head.headers), bodyBytes: 0 });
  }

  response(head: ResponseHead, endsNow: boolean): void {
    if (this.isOver) return;
    const headers = withoutOwn(head.headers);
    if (headers !== head.headers && this.believesPeer) {
      const unprocessed = valueOfField(head.headers, UNPROCESSED_HEADER);
      if (unprocessed !== undefined) return this.#reported(unprocessed, endsNow);
    }
    this.#hasResponse = true;
    this.status = head.status;
    this.#deadlines?.remove(this);
    this.exchange.respond(headers === head.headers ? head : { status: head.status, headers, bodyBytes: head.bodyBytes }, endsNow);
    if (endsNow) this.#answered();
  }

  #reported(unprocessed: string, endsNow: boolean): void {
    this.#report = unprocessed === '1'
      ? { kind: 'unprocessed', detail: 'its application does not answer at its port' }
      : { kind: 'failed', detail: 'the application closed the connection before it answered' };
    if (endsNow) this.#attemptEnded(this.#report);
  }

  switched(head: ResponseHead): void {
    if (this.isOver || this.#client === undefined) return;
    this.#hasResponse = true;
    this.status = head.status;
    this.#deadlines?.remove(this);
    this.exchange.switchProtocols(upgradedFor(this.head, { status: head.status, headers: withoutOwn(head.headers), bodyBytes: undefined }));
    this.#tunnel = new RequestBody(this.exchange, { ...this.head, bodyBytes: undefined }, this, 0);
    this.#tunnel.attach(this.#client);
  }

  data(chunk: Buffer): void {
    if (this.isOver) return;
    if (this.#report !== undefined) {
      this.#discardedBytes += chunk.length;
      if (this.#discardedBytes <= MAX_DISCARDED_BYTES) return;
      this.#client?.abort({ reason: 'too-large', detail: 'an error report is too long' });
      return this.#attemptEnded(this.#report);
    }
    if (this.exchange.write(chunk)) return;
    this.#client?.pauseBody();
    this.exchange.onDrain = () => this.#client?.resumeBody();
  }

  end(trailers: HeaderList | undefined): void {
    if (this.isOver) return;
    if (this.#report !== undefined) return this.#attemptEnded(this.#report);
    this.exchange.end(trailers === undefined ? undefined : withoutOwn(trailers));
    if (this.#tunnel === undefined) return this.#answered();
    this.#hasUpstreamEnded = true;
    if (this.#tunnel.hasEnded) this.#finish('upgraded');
  }

  /** The attempt's other end cut it off. */
  abort(why: Abort): void {
    this.#client = undefined;
    if (this.isOver) return;
    if (this.#hasResponse) {
      this.#ended += 1;
      this.#breakOff(GRPC_STATUS.unavailable, why);
      return this.#finish('broken');
    }
    this.#attemptEnded(this.#report ?? failureOf(why));
  }

  drain(): void {
    (this.#tunnel ?? this.body)?.drained();
  }

  bodyEnded(): void {
    if (this.#hasUpstreamEnded && !this.isOver) this.#finish('upgraded');
  }

  bodyAborted(why: Abort): void {
    this.callerGone(why);
  }

  /** The caller is not there any more: what was sent for it is called back. */
  callerGone(why: Abort): void {
    if (this.isOver) return;
    this.#giveUp({ reason: 'cancelled', detail: why.detail });
    this.#finish('caller-gone');
  }

  expired(): void {
    if (this.isOver || this.#hasResponse) return;
    this.#giveUp({ reason: 'timeout', detail: 'no answer within the time limit' });
    this.timedOut();
  }

  #callExpired(): void {
    if (this.isOver) return;
    this.#giveUp({ reason: 'timeout', detail: 'the deadline of the call is over' });
    if (!this.#hasResponse) return this.answerOwn({ status: 504, reason: 'UT', text: 'the deadline of the call is over' });
    this.#breakOff(GRPC_STATUS.deadlineExceeded, { reason: 'timeout', detail: 'the deadline of the call is over' });
    this.#finish('broken');
  }

  /** An answer that began cannot pass for a whole one (reliability 56): gRPC says so in its trailers, others are cut off. */
  #breakOff(status: number, why: Abort): void {
    if (this.isCall) this.exchange.end(grpcTrailers(status, `isthmus: the answer was cut off: ${why.detail}`));
    else this.exchange.abort(why);
  }

  /** The answer is whole. A request that was not read to its end by then is not going to be. */
  #answered(): void {
    if (this.body !== undefined && !this.body.hasEnded) this.#client?.abort({ reason: 'cancelled', detail: 'answered before the request was complete' });
    this.#client = undefined;
    this.#finish('done');
  }

  #attemptEnded(why: AttemptFailure): void {
    this.#ended += 1;
    if (this.body !== undefined && !this.body.hasEnded) this.#client?.abort({ reason: 'cancelled', detail: why.detail });
    this.#client = undefined;
    this.#report = undefined;
    this.#discardedBytes = 0;
    this.body?.detach();
    this.failed(why);
  }

  /** Calls back what is under way at the endpoint's side. */
  #giveUp(why: Abort): void {
    this.#ended += 1;
    this.#pool?.forget(this);
    this.#pool = undefined;
    const client = this.#client;
    this.#client = undefined;
    client?.abort(why);
  }

  #finish(outcome: Outcome): void {
    this.isOver = true;
    this.#deadlines?.remove(this);
    this.#timer?.cancel();
    this.#callTimer?.cancel();
    if (outcome === 'done' || outcome === 'answered') {
      if (this.body !== undefined && !this.body.hasEnded) this.body.discard();
    } else if (this.#tunnel !== undefined && outcome === 'broken') this.#tunnel.detach();
    this.done(outcome);
  }
}

function failureOf({ reason, detail }: Abort): AttemptFailure {
  if (reason === 'not-sent' || reason === 'unprocessed') return { kind: reason, detail };
  return { kind: reason === 'protocol' || reason === 'too-large' ? 'malformed' : 'failed', detail };
}
