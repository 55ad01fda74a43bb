// What can be measured of foreign trust domains: how old each bundle is, its sequence, and what was refused.
import { IsthmusError } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Metrics } from '@isthmus/telemetry';
import type { ForeignStatus } from './foreign-trust.ts';

const EVERY_MS = 5_000;

export interface ForeignMetrics {
  refused(trustDomain: string, error: unknown): void;
  forget(trustDomain: string): void;
  close(): void;
}

/** Keeps the gauges current by a slow timer until closed. */
export function foreignMetrics(metrics: Metrics, clock: Clock, status: () => readonly ForeignStatus[]): ForeignMetrics {
  const age = metrics.gauge('isthmus_foreign_bundle_age_seconds', 'Seconds since the source of a foreign trust domain’s bundle last confirmed it', ['trust_domain']);
  const sequence = metrics.gauge('isthmus_foreign_bundle_sequence', 'Sequence of the foreign bundle in force', ['trust_domain']);
  const refusals = metrics.counter('isthmus_foreign_bundle_refusals_total', 'Polls of foreign bundle endpoints that gave nothing good', ['trust_domain', 'reason']);
  let timer: { cancel(): void } | undefined;
  const tick = (): void => {
    for (const s of status()) {
      if (s.ageMs !== undefined) age.set(s.ageMs / 1_000, { trust_domain: s.trustDomain });
      if (s.sequence !== undefined) sequence.set(s.sequence, { trust_domain: s.trustDomain });
    }
    timer = clock.setTimer(EVERY_MS, tick);
  };
  timer = clock.setTimer(0, tick);
  return {
    refused: (trustDomain, error) => refusals.inc({ trust_domain: trustDomain, reason: reasonOf(error) }),
    forget: (trustDomain) => {
      age.remove({ trust_domain: trustDomain });
      sequence.remove({ trust_domain: trustDomain });
    },
    close: () => timer?.cancel(),
  };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof IsthmusError)) return 'internal';
  const { reason } = error.facts;
  if (typeof reason === 'string') return reason;
  return error.code === 'IDENTITY_BUNDLE_ENDPOINT_REFUSED' ? 'not-proven' : error.code === 'IDENTITY_BUNDLE_UNREACHABLE' ? 'unreachable' : 'internal';
}
