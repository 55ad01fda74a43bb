// A lease this process keeps alive, and knows to be lost no later than the server does.
import { messageOf } from '@isthmus/model';
import type { Log } from '@isthmus/telemetry';
import { type CallParts, write } from './calls.ts';
import type { LinkStream, StoreLink } from './link.ts';
import type { Lease } from './store.ts';

type KeepAliveStream = LinkStream<{ readonly id: bigint }, { readonly id: bigint; readonly ttlSeconds: bigint }>;

/** Keep-alives a TTL: two may be lost. */
const KEEP_ALIVES_PER_TTL = 3;

export interface LeaseParts {
  readonly link: StoreLink;
  readonly calls: CallParts;
  readonly log: Log;
  readonly onEnd: (lease: KeptLease) => void;
}

/** States: alive → lost (server said so, or the TTL passed unanswered) or → revoked. Neither is ever left. */
export class KeptLease implements Lease {
  readonly id: bigint;
  readonly ttlMs: number;
  readonly #parts: LeaseParts;
  readonly #listeners = new Set<() => void>();
  #state: 'alive' | 'lost' | 'revoked' = 'alive';
  #deadlineMonotonicMs: number;
  #timer: { cancel(): void } | undefined;
  #expiry: { cancel(): void } | undefined;
  #stream: KeepAliveStream | undefined;
  #isOpening = false;
  /** When the keep-alives still unanswered on this stream were sent; answers come in order. */
  #sentMonotonicMs: number[] = [];

  /** Grants a lease and starts to keep it. */
  static async grant(parts: LeaseParts, ttlMs: number): Promise<KeptLease> {
    const sentMonotonicMs = parts.calls.clock.monotonicMs();
    const ttlSeconds = BigInt(Math.max(1, Math.ceil(ttlMs / 1000)));
    // An unanswered grant leaves at worst a lease nobody uses, which runs out: it may be sent again, but then it is a new one.
    const granted = await write(parts.calls, 'lease grant', (deadlineMs) => parts.link.leaseGrant(ttlSeconds, deadlineMs));
    return new KeptLease(parts, granted.id, Number(granted.ttlSeconds) * 1000, sentMonotonicMs);
  }

  constructor(parts: LeaseParts, id: bigint, ttlMs: number, sentMonotonicMs: number) {
    this.#parts = parts;
    this.id = id;
    this.ttlMs = ttlMs;
    this.#deadlineMonotonicMs = sentMonotonicMs + ttlMs;
    this.#schedule(ttlMs / KEEP_ALIVES_PER_TTL);
    this.#watchDeadline();
  }

  get alive(): boolean {
    if (this.#state === 'alive' && this.#parts.calls.clock.monotonicMs() >= this.#deadlineMonotonicMs) {
      this.lose('its time ran out without an answered keep-alive');
    }
    return this.#state === 'alive';
  }

  onLost(fn: () => void): () => void {
    if (this.#state === 'lost') {
      fn();
      return () => undefined;
    }
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  async revoke(): Promise<void> {
    if (this.#state === 'revoked') return;
    this.#state = 'revoked';
    this.#stop();
    const { calls, link, log } = this.#parts;
    try {
      await write(calls, 'lease revoke', (deadlineMs) => link.leaseRevoke(this.id, deadlineMs));
    } catch (error) {
      log.debug('lease was not revoked and will run out', { lease: this.id, error: messageOf(error) });
    }
  }

  /** Marks the lease lost, for whoever learns it another way: a write the server refused. */
  lose(why: string): void {
    if (this.#state !== 'alive') return;
    this.#state = 'lost';
    this.#stop();
    this.#parts.calls.metrics.leasesLost.inc();
    this.#parts.log.warn('lease is lost', { lease: this.id, reason: why });
    for (const listener of [...this.#listeners]) listener();
    this.#listeners.clear();
  }

  /** Ends keep-alives without giving the lease back: it runs out. */
  abandon(): void {
    if (this.#state === 'alive') this.#state = 'revoked';
    this.#stop();
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#expiry?.cancel();
    this.#stream?.cancel();
    this.#stream = undefined;
    this.#parts.onEnd(this);
  }

  #schedule(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#parts.calls.clock.setTimer(ms, () => {
      this.#schedule(this.ttlMs / KEEP_ALIVES_PER_TTL);
      void this.#keepAlive();
    });
  }

  #watchDeadline(): void {
    const { clock } = this.#parts.calls;
    this.#expiry?.cancel();
    this.#expiry = clock.setTimer(Math.max(1, this.#deadlineMonotonicMs - clock.monotonicMs()), () => {
      if (this.alive) this.#watchDeadline();
    });
  }

  async #keepAlive(): Promise<void> {
    if (!this.alive || this.#isOpening) return;
    if (this.#sentMonotonicMs.length > 0) {
      // The last one was not answered: another connection, perhaps another member, may do better.
      this.#dropStream(this.#stream);
    }
    this.#isOpening = true;
    try {
      this.#stream ??= await this.#open();
    } catch (error) {
      this.#parts.log.debug('keep-alive stream could not be opened', { lease: this.id, error: messageOf(error) });
      this.#retrySoon();
      return;
    } finally {
      this.#isOpening = false;
    }
    if (this.#state !== 'alive') return this.#dropStream(this.#stream);
    this.#sentMonotonicMs.push(this.#parts.calls.clock.monotonicMs());
    this.#stream.write({ id: this.id });
  }

  async #open(): Promise<KeepAliveStream> {
    const stream = await this.#parts.link.keepAlive();
    stream.listen({
      onMessage: ({ ttlSeconds }) => {
        if (stream !== this.#stream) return;
        const sentMonotonicMs = this.#sentMonotonicMs.shift();
        if (ttlSeconds <= 0n) return this.lose('the store says it is gone');
        if (sentMonotonicMs !== undefined && this.alive) {
          this.#deadlineMonotonicMs = Math.max(this.#deadlineMonotonicMs, sentMonotonicMs + Number(ttlSeconds) * 1000);
          this.#watchDeadline();
        }
      },
      onEnd: (fault) => {
        if (stream !== this.#stream || this.#state !== 'alive') return;
        this.#parts.log.debug('keep-alive stream ended', { lease: this.id, error: fault.details });
        this.#dropStream(stream);
        this.#retrySoon();
      },
    });
    return stream;
  }

  #dropStream(stream: KeepAliveStream | undefined): void {
    this.#stream = undefined;
    this.#sentMonotonicMs = [];
    stream?.cancel();
  }

  #retrySoon(): void {
    if (this.#state !== 'alive') return;
    const step = this.ttlMs / KEEP_ALIVES_PER_TTL / 4;
    this.#schedule(step * (0.5 + this.#parts.calls.random()));
  }
}
