// One connection through the gateway: hello, dial, relay, end. Owns both sockets from accept to close.
import type { Engine } from '@isthmus/decide';
import type { RelayEnd, RelayRefusal } from '../engine.ts';
import type { Destination, Target } from '../destination.ts';
import type { OpenAccount } from '../ledger.ts';
import { ALERT_UNRECOGNIZED_NAME } from '../../tls/client-hello.ts';
import { keepAlive } from '../../transport/linux/dial.ts';
import { SILENCE_MS } from '../../transport/linux/silence-watch.ts';
import * as libc from '../../transport/linux/libc.ts';
import type { Flushed, Watched } from '../../transport/linux/loop.ts';
import { Deadlines, type Limited } from './deadlines.ts';
import { FirstBytes } from './first-bytes.ts';
import type { Gateway } from './gateway.ts';
import { RelayStream, type Side } from './relay-stream.ts';
import { closeSocket, EVENTS, noteEvents, Upstream } from './upstream.ts';

const ALERTED: ReadonlySet<RelayRefusal> = new Set<RelayRefusal>(['no-sni', 'bad-sni', 'unknown-name', 'not-ours', 'not-exported', 'no-endpoint']);
const NO_TRIES: ReadonlySet<string> = new Set();

const SILENCE_STEPS = SILENCE_MS / Deadlines.stepMs;

type State = 'hello' | 'resolving' | 'connecting' | 'relaying' | 'closed';

/** The caller's socket is `this`'s own; the endpoint's socket is `#upstream`'s. */
export class Connection implements Watched, Flushed, Limited, Side {
  readonly #gateway: Gateway;
  fd: number;
  readable = false;
  writable = false;
  peerEnded = false;
  sawUrgent = false;
  readonly delays = false; // accepted sockets send without delay
  /** In the gateway's list. */
  openIndex = -1;
  deadlineMs: number;
  deadlineStep = -1;
  deadlineIndex = 0;
  isForReview = false;
  isDrained = false;
  /** By `targetKey`; empty before an endpoint was connected to. */
  target = '';
  service = '';
  /** What its endpoint was picked by; undefined before. */
  routes: Engine | undefined;
  readonly #acceptedMs: number;
  #key: number;
  #state: State = 'hello';
  /** Until the endpoint has them. */
  #first: FirstBytes | undefined;
  #destination: Destination | undefined;
  #attempts = 0;
  /** Undefined until a second attempt: nearly all connections make one. */
  #tried: Set<string> | undefined;
  #current: Target | undefined;
  #account: OpenAccount | undefined;
  #upstream: Upstream | undefined;
  #up: RelayStream | undefined;
  #down: RelayStream | undefined;
  #marked = false;
  #isWatched = false;
  /** By the steps of `deadlines`: when bytes of each came last, and when both were found to owe no answer. */
  #callerHeardStep = 0;
  #endpointHeardStep = 0;
  #settledStep = -1;

  constructor(gateway: Gateway, fd: number, isProxied: boolean) {
    this.#gateway = gateway;
    this.fd = fd;
    this.#acceptedMs = gateway.loop.nowMs;
    this.deadlineMs = this.#acceptedMs + gateway.limits.helloMs;
    this.#first = new FirstBytes(gateway.rooms, isProxied);
    gateway.loop.own(fd);
    this.#key = gateway.loop.watch(fd, EVENTS, this);
    gateway.deadlines.add(this);
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  get isReadingHello(): boolean {
    return this.#state === 'hello';
  }

  onEvents(events: number): void {
    try {
      this.#onEvents(events);
    } catch (error) {
      this.failed(error);
    }
  }

  /** What the endpoint's socket was told, once it is connected. */
  onUpstreamEvents(events: number): void {
    try {
      this.#onRelayEvents(events);
    } catch (error) {
      this.failed(error);
    }
  }

  /** A hello often comes together with its connection: looked for before any event tells of it. */
  begin(): void {
    this.onEvents(libc.EPOLLIN);
  }

  /** Given up for a bug: nothing of it is kept. */
  failed(error: unknown): void {
    this.#gateway.failed(error);
    this.#end('reset', true);
  }

  #onEvents(events: number): void {
    noteEvents(this, events);
    if (this.#state === 'hello') {
      if (this.readable) this.#readHello();
    } else if (this.#state === 'relaying') this.#onRelayEvents(events);
    // Gone before an endpoint was reached: nobody waits for the answer any more.
    else if ((events & (libc.EPOLLERR | libc.EPOLLHUP)) !== 0) this.#abort('reset');
  }

  #readHello(): void {
    const result = this.#first?.read(this);
    if (result === undefined || result.kind === 'need-more') return;
    if (result.kind === 'hello') this.#led(this.#gateway.find(result.serverName));
    else if (result.kind === 'refused') this.refuse(result.reason);
    else this.#gateway.gone(this);
  }

  /** Counts the refusal and closes; a TLS client is told by an alert. */
  refuse(reason: RelayRefusal): void {
    this.#gateway.refused(reason, this);
    if (ALERTED.has(reason)) libc.send(this.fd, ALERT_UNRECOGNIZED_NAME, ALERT_UNRECOGNIZED_NAME.length, libc.MSG_NOSIGNAL);
    this.close(false);
  }

  #led(destination: Destination | { readonly kind: 'refused'; readonly reason: RelayRefusal }): void {
    if (destination.kind === 'refused') return this.refuse(destination.reason);
    this.#destination = destination;
    this.service = destination.service;
    this.#state = 'resolving';
    this.#gateway.helloRead();
    this.#tryNext();
  }

  /** Nothing has been sent yet, so any endpoint may be tried after any other. */
  #tryNext(): void {
    const { limits, ledger } = this.#gateway;
    const attempts = this.#attempts;
    if (attempts > 0 && this.#current !== undefined) (this.#tried ??= new Set()).add(this.#current.id);
    const target = attempts < limits.attempts ? this.#destination?.pick(this.#tried ?? NO_TRIES) : undefined;
    if (target === undefined) {
      // Nothing was even dialled: the endpoints are there, and have all the connections they may have.
      ledger.ended(this.service, attempts === 0 ? 'overloaded' : 'unreachable', this.#gateway.loop.nowMs - this.#acceptedMs);
      return this.close(true);
    }
    this.routes = this.#gateway.routes;
    this.#attempts += 1;
    this.#current = target;
    this.#account = ledger.opened(this.service, target.id);
    const deadlineMs = this.#gateway.loop.nowMs + limits.connectMs;
    const isSooner = deadlineMs < this.deadlineMs;
    this.deadlineMs = deadlineMs;
    if (isSooner) this.#gateway.deadlines.add(this);
    this.#gateway.dial(target, this);
  }

  /** Whether it still waits for this target's address; a late answer concerns nobody. */
  isTrying(target: Target): boolean {
    return this.#state === 'resolving' && this.#current === target;
  }

  /** A socket on its way to the endpoint; owned from here on. */
  dialling(fd: number): void {
    if (this.closed) return this.#gateway.loop.closeOwn(fd);
    this.#state = 'connecting';
    try {
      this.#upstream = new Upstream(this, this.#gateway, fd);
    } catch (error) {
      this.#gateway.loop.closeOwn(fd);
      throw error;
    }
  }

  /** The endpoint was not reached: the next one, while there is one. `isOwnLack`: it was not even asked. */
  notReached(why: string, isOwnLack = false): void {
    if (this.closed) return;
    const { ledger, outliers } = this.#gateway;
    this.#upstream?.close(false);
    this.#upstream = undefined;
    this.#state = 'resolving';
    if (this.#account !== undefined) ledger.connectFailed(this.#account);
    this.#account = undefined;
    const id = this.#current?.id ?? '';
    this.#gateway.notReached(this.service, id, why, !isOwnLack && outliers.failed(id));
    this.#tryNext();
  }

  /** The endpoint answers: the hello goes first, then everything as it comes. */
  connected(upstream: Upstream): void {
    const target = this.#current;
    if (target === undefined) return;
    this.#gateway.outliers.succeeded(target.id);
    this.#state = 'relaying';
    this.target = target.key;
    this.#up = new RelayStream(this, upstream, this.#gateway.pipes);
    this.#down = new RelayStream(upstream, this, this.#gateway.pipes);
    if (this.#first !== undefined) this.#sendFirst(this.#first, upstream, this.#up, target.takesProxyHeader);
    this.#first = undefined;
    this.#destination = undefined;
    this.#tried = undefined;
    this.#callerHeardStep = this.#endpointHeardStep = this.#gateway.deadlines.step;
    this.#gateway.relaying(this);
    this.pump();
  }

  /** What the endpoint does not take at once waits as any other bytes do. */
  #sendFirst(first: FirstBytes, upstream: Upstream, up: RelayStream, withHeader: boolean): void {
    if (this.#account !== undefined) this.#account.bytesIn += first.sizeBytes;
    const rest = withHeader ? first.take() : first.sendTo(upstream.fd);
    if (rest.length > 0) up.prepend(rest);
    if (withHeader) up.prepend(this.#gateway.proxyHeader(this.fd, first.addresses));
  }

  /** After a reset what has come before it is still passed on; where that must wait for the other side, it is lost. */
  #onRelayEvents(events: number): void {
    this.pump();
    if ((events & libc.EPOLLERR) !== 0 && !this.closed && !this.#marked) this.#abort('reset');
  }

  /** Moves what can be moved, both ways. */
  pump(): void {
    const up = this.#up;
    const down = this.#down;
    if (up === undefined || down === undefined) return;
    const moved = up.done ? 'idle' : up.move(down.done);
    const returned = moved === 'reset' || down.done ? 'idle' : down.move(up.done);
    if (this.#count(up, down)) this.deadlineMs = this.#gateway.loop.nowMs + this.#gateway.limits.idleMs;
    if (moved === 'reset' || returned === 'reset') return this.#abort('reset');
    if (up.done && down.done) return this.#end('complete', false);
    if ((moved === 'again' || returned === 'again') && !this.#marked) {
      this.#marked = true;
      this.#gateway.again(this);
    }
  }

  flush(): void {
    this.#marked = false;
    if (!this.closed) this.onEvents(0);
  }

  onDeadline(): void {
    if (this.#state === 'hello') return this.refuse('hello-timeout');
    if (this.#state === 'relaying') return this.#abort('idle');
    try {
      this.notReached(`no connection within ${this.#gateway.limits.connectMs} ms`);
    } catch (error) {
      this.failed(error);
    }
  }

  /** A peer that vanishes without a word is found out (reliability 79); short connections are spared the calls. */
  onReview(): boolean {
    if (this.#upstream === undefined || this.#state !== 'relaying') return false;
    const { step } = this.#gateway.deadlines;
    // Whoever sent something lately has answered lately; and where nothing moved since both owed nothing, not even an end, they still do not.
    if (step - Math.min(this.#callerHeardStep, this.#endpointHeardStep) < SILENCE_STEPS) return false;
    const hasEnded = this.#up?.done === true || this.#down?.done === true;
    if (!hasEnded && Math.max(this.#callerHeardStep, this.#endpointHeardStep) < this.#settledStep) return false;
    if (!this.#isWatched) keepAlive(this.#upstream.fd);
    this.#isWatched = true;
    const debts = [libc.peerDebt(this.fd, SILENCE_MS), libc.peerDebt(this.#upstream.fd, SILENCE_MS)];
    if (debts.includes('overdue')) this.#abort('reset');
    else if (!debts.includes('owed')) this.#settledStep = step;
    return true;
  }

  /** Cuts the connection off, as if it had been reset. */
  cut(): void {
    if (this.closed) return;
    this.isDrained = true;
    this.#abort('reset');
  }

  #abort(end: RelayEnd): void {
    this.#end(end === 'reset' && this.isDrained && this.#state === 'relaying' ? 'drained' : end, true);
  }

  #end(end: RelayEnd, reset: boolean): void {
    if (this.#account !== undefined) {
      if (this.#up !== undefined && this.#down !== undefined) this.#count(this.#up, this.#down);
      this.#gateway.ledger.closed(this.#account, end, this.#gateway.loop.nowMs - this.#acceptedMs);
      this.#account = undefined;
    }
    this.close(reset);
  }

  /** Puts what was moved on the account at once: nobody has to go through all connections for it. Whether there was any. */
  #count(up: RelayStream, down: RelayStream): boolean {
    if (up.bytes === 0 && down.bytes === 0) return false;
    const { step } = this.#gateway.deadlines;
    if (up.bytes > 0) this.#callerHeardStep = step;
    if (down.bytes > 0) this.#endpointHeardStep = step;
    if (this.#account !== undefined) {
      this.#account.bytesIn += up.bytes;
      this.#account.bytesOut += down.bytes;
    }
    up.bytes = 0;
    down.bytes = 0;
    return true;
  }

  close(reset: boolean): void {
    if (this.#state === 'closed') return;
    if (this.#account !== undefined) {
      this.#gateway.ledger.connectFailed(this.#account);
      this.#account = undefined;
    }
    this.#gateway.closed(this, this.#state === 'hello');
    this.#gateway.deadlines.remove(this);
    this.#state = 'closed';
    this.#first?.release();
    this.#first = undefined;
    this.#up?.release();
    this.#down?.release();
    this.#upstream?.close(reset);
    closeSocket(this.#gateway, this.#key, this.fd, reset);
    this.fd = -1;
    this.#key = -1;
  }
}
