// Writes the conditions of ServiceExports back, one at a time, and stops asking where it is not allowed to.
import { IsthmusError, messageOf } from '@isthmus/model';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Counter, Log, Metrics } from '@isthmus/telemetry';
import type { KubernetesApi } from './api.ts';
import { exportStatusPath } from './kinds.ts';
import type { Condition, KubeServiceExport } from './objects.ts';

/** The conditions an export should have, or undefined where it has them or is gone; asked right before writing. */
export type WantedStatus = (key: string) => { readonly exported: KubeServiceExport; readonly conditions: readonly Condition[] } | undefined;

export interface ExportStatusWriter {
  /** These exports may need another status. **Bounds** each waits once. */
  reconsider(keys: readonly string[]): void;
  /** Why nothing is written now; undefined where it is. */
  problem(): string | undefined;
  close(): Promise<void>;
}

/** Several changes of one export within this time are one write. */
const SETTLE_MS = 100;
/** Without the right to write, it is tried again this much later; an API server that starts refuses for a moment what it will allow. */
const DENIED_MS = 60_000;

/** Starts the writer. Server-side apply under our own field manager: conditions of others stay as they are. */
export function openExportStatusWriter(options: { readonly api: KubernetesApi; readonly wanted: WantedStatus; readonly clock: Clock; readonly random: Random; readonly log: Log; readonly metrics: Metrics }): ExportStatusWriter {
  const { api, wanted, clock, log } = options;
  const writes: Counter = options.metrics.counter('isthmus_kubernetes_status_writes_total', 'Statuses of ServiceExports written, by outcome', ['outcome']);
  const stop = new AbortController();
  const due = new Set<string>();
  let lastProblem: string | undefined;
  let running: Promise<void> | undefined;

  async function writeOne(key: string): Promise<void> {
    const want = wanted(key);
    if (want === undefined) return;
    const { namespace, name } = want.exported;
    const body = { apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport', metadata: { namespace, name }, status: { conditions: want.conditions } };
    await api.apply(exportStatusPath(namespace, name), body, { fieldManager: 'isthmus', force: true }, stop.signal);
    writes.inc({ outcome: 'written' });
    lastProblem = undefined;
  }

  async function run(): Promise<void> {
    const waits = backoff({ baseMs: 500, maxMs: 60_000, random: options.random });
    await clock.sleep(SETTLE_MS, stop.signal);
    for (let key = firstOf(due); key !== undefined; key = firstOf(due)) {
      due.delete(key);
      try {
        await writeOne(key);
        waits.reset();
      } catch (error) {
        if (stop.signal.aborted) return;
        const status = error instanceof IsthmusError ? error.facts['status'] : undefined;
        // The export is gone, and with it its status.
        if (status === 404) continue;
        writes.inc({ outcome: status === 403 ? 'denied' : 'failed' });
        due.add(key);
        if (lastProblem === undefined) log.warn('status of a ServiceExport not written, will try again', { export: key, error: messageOf(error) });
        lastProblem = messageOf(error);
        await clock.sleep(status === 403 ? DENIED_MS : waits.nextMs(), stop.signal);
      }
    }
  }

  return {
    reconsider(keys) {
      for (const key of keys) due.add(key);
      if (due.size === 0 || stop.signal.aborted) return;
      running ??= run()
        .catch(() => undefined) // only the end of the process stops it
        .finally(() => {
          running = undefined;
        });
    },
    problem: () => lastProblem,
    async close() {
      stop.abort(new Error('closed'));
      await running;
    },
  };
}

function firstOf(set: ReadonlySet<string>): string | undefined {
  for (const key of set) return key;
  return undefined;
}
