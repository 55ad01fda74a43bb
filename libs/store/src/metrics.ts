// What the store counts.
import type { Counter, Metrics } from '@isthmus/telemetry';

export interface StoreMetrics {
  readonly callFailures: Counter;
  readonly watchCuts: Counter;
  readonly oldEvents: Counter;
  readonly skipped: Counter;
  readonly restored: Counter;
  readonly massDeletes: Counter;
  readonly auditDifferences: Counter;
  readonly leasesLost: Counter;
}

export function storeMetrics(metrics: Metrics): StoreMetrics {
  return {
    callFailures: metrics.counter('isthmus_store_call_failures_total', 'Calls to the store that failed, by call and kind of failure', ['call', 'kind']),
    watchCuts: metrics.counter('isthmus_store_watch_cuts_total', 'Watches that were cut off and opened again, by reason', ['reason']),
    oldEvents: metrics.counter('isthmus_store_watch_old_events_total', 'Watch events dropped because they were older than what was known'),
    skipped: metrics.counter('isthmus_store_skipped_total', 'Keys not taken from a store because they are over a limit', ['reason']),
    restored: metrics.counter('isthmus_store_restored_total', 'Times a store turned out to have gone back in time or to be another one (alarm)'),
    massDeletes: metrics.counter('isthmus_store_mass_deletes_total', 'Times a re-list found more than half of the known keys gone (alarm)'),
    auditDifferences: metrics.counter('isthmus_store_audit_differences_total', 'Changes a periodic audit found that the watch had not told'),
    leasesLost: metrics.counter('isthmus_store_leases_lost_total', 'Leases lost while they were to be kept'),
  };
}
