// The count-down to identity loss as a metric, kept current by a slow timer.
import type { Clock } from '@isthmus/runtime';
import type { Metrics } from '@isthmus/telemetry';

const EVERY_MS = 5_000;

/** Seconds until `expiresAtMs`, never below 0. */
export function secondsTo(expiresAtMs: number, nowMs: number): number {
  return Math.max(0, Math.floor((expiresAtMs - nowMs) / 1_000));
}

/** Sets `isthmus_identity_seconds_to_loss` every 5 s until closed. */
export function reportIdentityLoss(metrics: Metrics | undefined, clock: Clock, seconds: () => number): { close(): void } {
  if (metrics === undefined) return { close: () => undefined };
  const gauge = metrics.gauge('isthmus_identity_seconds_to_loss', 'Seconds until this process can no longer prove who it is, if nothing is renewed');
  let timer: { cancel(): void } | undefined;
  const tick = (): void => {
    gauge.set(seconds());
    timer = clock.setTimer(EVERY_MS, tick);
  };
  tick();
  return { close: () => timer?.cancel() };
}
