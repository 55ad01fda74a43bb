// Whether this process gets to its work in time: how late its timers fire, as a metric and as a check of readiness.
import type { Metrics } from '@isthmus/telemetry';
import type { Clock } from './clock.ts';

export interface EventLoopWatch {
  /** False for a while after the loop stood still: callers had better go elsewhere (reliability 69). */
  isResponsive(): boolean;
  close(): void;
}

export type EventLoopOptions = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** A timer so late means that the loop stood still. */
  readonly stallMs?: number;
  /** How long after that the process counts as unresponsive; it grows with the stall up to four times this. */
  readonly distrustMs?: number;
};

const EVERY_MS = 100;
const STALL_MS = 1_000;
const DISTRUST_MS = 5_000;
const MAX_DISTRUST = 4;
const DELAY_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Watches the event loop of this thread from now on, ten times a second. */
export function watchEventLoop(options: EventLoopOptions): EventLoopWatch {
  const { clock, metrics, stallMs = STALL_MS, distrustMs = DISTRUST_MS } = options;
  const delays = metrics.histogram('isthmus_event_loop_delay_seconds', 'How late the event loop came to a timer', [], DELAY_BUCKETS_SECONDS);
  const stalls = metrics.counter('isthmus_event_loop_stalls_total', 'Times the event loop stood still for a second or more');
  let distrustedUntilMs = Number.NEGATIVE_INFINITY;
  let dueMs = clock.monotonicMs() + EVERY_MS;
  const tick = (): void => {
    const nowMs = clock.monotonicMs();
    const lateMs = Math.max(0, nowMs - dueMs);
    delays.observe(lateMs / 1_000);
    if (lateMs >= stallMs) {
      stalls.inc();
      distrustedUntilMs = nowMs + Math.min(MAX_DISTRUST, Math.max(1, lateMs / distrustMs)) * distrustMs;
    }
    dueMs = nowMs + EVERY_MS;
    timer = clock.setTimer(EVERY_MS, tick);
  };
  let timer = clock.setTimer(EVERY_MS, tick);
  return {
    // A loop that stands still now cannot tell before its timer has run; whoever asks first after it must not hear a yes.
    isResponsive: () => clock.monotonicMs() >= distrustedUntilMs && clock.monotonicMs() - dueMs < stallMs,
    close: () => timer.cancel(),
  };
}
