// How alive a peer is, judged by this cluster's own clock and what it heard itself.
import { HEARTBEAT_INTERVAL_MS, type PeerState, peerStateAt, PRESUMED_DEAD_AFTER_MS, STALE_AFTER_MS } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';

export type PeerTimes = { readonly staleAfterMs: number; readonly presumedDeadAfterMs: number; readonly heartbeatIntervalMs: number };

export const DEFAULT_PEER_TIMES: PeerTimes = {
  staleAfterMs: STALE_AFTER_MS,
  presumedDeadAfterMs: PRESUMED_DEAD_AFTER_MS,
  heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
};

/**
 * A peer's state over time: stale until it is first heard, fresh with each heartbeat, stale and then presumed dead as
 * heartbeats stay out. When this process itself slept past a timer, it listens for one more heartbeat interval first:
 * our own pause is no evidence against a peer.
 */
export class PeerHealth {
  readonly #clock: Clock;
  readonly #times: PeerTimes;
  readonly #onChange: () => void;
  readonly #sinceMonotonicMs: number;
  #heardMonotonicMs: number | undefined;
  #state: Exclude<PeerState, 'fenced'> = 'stale';
  #staleSinceMs: number | undefined;
  #timer: { cancel(): void } | undefined;

  constructor(options: { readonly clock: Clock; readonly times: PeerTimes; readonly onChange: () => void }) {
    this.#clock = options.clock;
    this.#times = options.times;
    this.#onChange = options.onChange;
    this.#sinceMonotonicMs = options.clock.monotonicMs();
    this.#staleSinceMs = options.clock.nowMs();
    this.#arm();
  }

  get state(): Exclude<PeerState, 'fenced'> {
    return this.#state;
  }

  /** Unix time at which it ceased to be fresh; undefined while it is. */
  get staleSinceMs(): number | undefined {
    return this.#staleSinceMs;
  }

  /** Since the last heartbeat; undefined when none came in this life of the process. */
  ageMs(): number | undefined {
    return this.#heardMonotonicMs === undefined ? undefined : Math.round(this.#clock.monotonicMs() - this.#heardMonotonicMs);
  }

  /** A new heartbeat was verified. */
  heard(): void {
    this.#heardMonotonicMs = this.#clock.monotonicMs();
    this.#become('fresh');
    this.#arm();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#state === 'presumed-dead') return;
    const limitMs = this.#state === 'fresh' ? this.#times.staleAfterMs : this.#times.presumedDeadAfterMs;
    const ageMs = this.#clock.monotonicMs() - (this.#heardMonotonicMs ?? this.#sinceMonotonicMs);
    this.#wait(Math.max(0, limitMs - ageMs));
  }

  #wait(ms: number): void {
    const dueMonotonicMs = this.#clock.monotonicMs() + ms;
    this.#timer = this.#clock.setTimer(ms, () => {
      const overdueMs = this.#clock.monotonicMs() - dueMonotonicMs;
      if (overdueMs > this.#times.heartbeatIntervalMs / 2) return this.#wait(this.#times.heartbeatIntervalMs);
      const judged = peerStateAt(this.#heardMonotonicMs ?? this.#sinceMonotonicMs, this.#clock.monotonicMs(), this.#times);
      // Timers may fire a touch early; unheard is never fresh.
      this.#become(judged === 'fresh' && this.#heardMonotonicMs === undefined ? 'stale' : judged);
      this.#arm();
    });
  }

  #become(state: Exclude<PeerState, 'fenced'>): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === 'fresh') this.#staleSinceMs = undefined;
    else this.#staleSinceMs ??= this.#clock.nowMs();
    this.#onChange();
  }
}
