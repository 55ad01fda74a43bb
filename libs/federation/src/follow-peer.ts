// The way to one peer, kept open: dialled again whenever it breaks, its shared ranges read and followed to their end.
import { ERROR_CLASSES, IsthmusError, type Member, messageOf } from '@isthmus/model';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import { keys, type PeerStore } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';

/** The way to one peer's shared keys; owned by who opened it. */
export type PeerLink = { readonly store: PeerStore; close(): Promise<void> };

export type FollowOptions = {
  /** The peer, by its newest record: a new address counts from the next session on. */
  readonly member: () => Member;
  /** The own cluster: the consumer that peers' exports name. */
  readonly cluster: string;
  readonly openPeer: (member: Member) => PeerLink;
  readonly heartbeatIntervalMs: number;
  readonly startDelayMs: number;
  /** A record is there, new or known. */
  readonly onRecord: (key: string, bytes: Uint8Array) => void;
  /** A range was read whole: of the keys below it only these are there. */
  readonly onComplete: (range: string, present: ReadonlySet<string>) => void;
  readonly onGone: (key: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
};

const RECONNECT = { baseMs: 200, maxMs: 10_000 } as const;

/** Follows `shared/cluster`, `shared/exports/all/`, `…/to/<own cluster>/` and the bans of one peer until it is stopped. Losing the connection tells nothing. */
export class PeerFollower {
  readonly #options: FollowOptions;
  readonly #ranges: readonly string[];
  readonly #following = new Set<string>();
  readonly #stop = new AbortController();
  #session = new AbortController();
  #lastError: string | undefined;
  #running: Promise<void> | undefined;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#ranges = [keys.sharedExports('all'), keys.sharedExports(options.cluster), keys.sharedBans()];
  }

  /** Whether all that the peer shares with this cluster is being followed now. */
  get isFollowingAll(): boolean {
    return this.#following.size === 1 + this.#ranges.length;
  }

  /** Why it is not followed, or was not the last time. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends this session and dials anew at once. */
  redial(): void {
    this.#session.abort();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#session.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random, startDelayMs, log } = this.#options;
    const pause = backoff({ ...RECONNECT, random });
    await clock.sleep(startDelayMs, this.#stop.signal).catch(() => undefined);
    while (!this.#stop.signal.aborted) {
      this.#session = new AbortController();
      const signal = AbortSignal.any([this.#stop.signal, this.#session.signal]);
      try {
        await this.#follow(signal, () => pause.reset());
      } catch (thrown) {
        if (!signal.aborted) {
          this.#lastError = messageOf(thrown);
          log.warn('peer cannot be followed, will try again', { error: this.#lastError });
        }
      }
      this.#following.clear();
      // A session ended on purpose (new address) is opened anew at once.
      if (!signal.aborted) await clock.sleep(pause.nextMs(), signal).catch(() => undefined);
    }
  }

  /** One session: all ranges until the first of them fails or it is aborted. */
  async #follow(signal: AbortSignal, onGood: () => void): Promise<void> {
    const link = this.#options.openPeer(this.#options.member());
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const untilFailed = (work: Promise<void>): Promise<void> => work.finally(() => failed.abort());
    try {
      const results = await Promise.allSettled([
        untilFailed(this.#askForHeartbeats(link.store, either, onGood)),
        ...this.#ranges.map((range) => untilFailed(this.#followRange(link.store, range, either, onGood))),
      ]);
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    } finally {
      await link.close();
    }
  }

  /**
   * Asks for the heartbeat twice as often as it is written. A watch would be no quicker in showing that a peer is gone,
   * and a read that is answered proves the whole way to it, where a silent watch proves nothing.
   */
  async #askForHeartbeats(store: PeerStore, signal: AbortSignal, onGood: () => void): Promise<void> {
    const { clock, random, heartbeatIntervalMs } = this.#options;
    const key = keys.sharedCluster();
    while (!signal.aborted) {
      try {
        const entry = await store.get(key);
        if (signal.aborted) return;
        if (entry !== undefined) this.#options.onRecord(key, entry.value);
        this.#nowFollowing(key, onGood);
      } catch (thrown) {
        if (signal.aborted || (thrown instanceof IsthmusError && !ERROR_CLASSES[thrown.class].retry)) throw thrown;
        this.#following.delete(key);
        this.#lastError = messageOf(thrown);
      }
      await clock.sleep((heartbeatIntervalMs / 2) * (0.9 + 0.2 * random()), signal).catch(() => undefined);
    }
  }

  async #followRange(store: PeerStore, range: string, signal: AbortSignal, onGood: () => void): Promise<void> {
    const { onRecord, onComplete, onGone } = this.#options;
    for await (const event of store.watch(range, { signal })) {
      switch (event.kind) {
        case 'snapshot':
          for (const entry of event.entries) onRecord(entry.key, entry.value);
          onComplete(range, new Set(event.entries.map((e) => e.key)));
          this.#nowFollowing(range, onGood);
          break;
        case 'put':
          onRecord(event.key, event.value);
          break;
        case 'delete':
          onGone(event.key);
          break;
        case 'unknown':
          this.#following.delete(range);
          break;
        case 'known':
          this.#nowFollowing(range, onGood);
          break;
      }
    }
  }

  #nowFollowing(range: string, onGood: () => void): void {
    this.#following.add(range);
    if (!this.isFollowingAll) return;
    this.#lastError = undefined;
    onGood();
  }
}
