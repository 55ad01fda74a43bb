// Turns the ledgers of a relay's threads into the gateway's metrics, and forgets endpoints that are gone.
import type { Snapshot, SnapshotResource } from '@isthmus/model';
import type { Metrics } from '@isthmus/telemetry';
import { type GatewayMetrics, gatewayMetrics } from '../metrics.ts';
import type { Account, LedgerDelta } from './ledger.ts';

/** How often a thread's ledger is drained: what a metric may be behind. */
export const LEDGER_PERIOD_MS = 1_000;

type Series = { readonly service: string; readonly endpoint: string; open: number };
type ServiceSeries = { readonly byEndpoint: Map<string, Series>; view: SnapshotResource | undefined; hasNew: boolean };

/**
 * What all threads of one relay have counted, as metrics. A series of an endpoint that is in no snapshot any more goes when
 * its last connection has. **Bounds** the endpoints of the snapshot and those with connections open.
 */
export class LedgerReport {
  readonly #metrics: GatewayMetrics;
  readonly #reserved: ReadonlySet<string>;
  readonly #services = new Map<string, ServiceSeries>();
  #open = 0;
  /** What each thread has open at each endpoint, so that a thread that died can be taken off. */
  readonly #byThread = new Map<number, Map<Series, number>>();

  /** `reserved`: the reserved names, which stand in no snapshot and never go. */
  constructor(metrics: Metrics, reserved: readonly string[]) {
    this.#metrics = gatewayMetrics(metrics);
    this.#reserved = new Set(reserved);
  }

  /** Connections of all threads together, hellos included; the relay knows, the ledger does not. */
  setOpen(connections: number): void {
    this.#open = connections;
    this.#metrics.open.set(connections);
  }

  /** Of these, those that do not lead to a reserved name. */
  get serviceConnections(): number {
    let reserved = 0;
    for (const name of this.#reserved) for (const { open } of this.#services.get(name)?.byEndpoint.values() ?? []) reserved += open;
    return Math.max(0, this.#open - reserved);
  }

  /** Adds what a thread counted since its delta before. */
  add(thread: number, delta: LedgerDelta): void {
    const opened = this.#byThread.get(thread) ?? new Map<Series, number>();
    this.#byThread.set(thread, opened);
    for (const account of delta.accounts) this.#addAccount(opened, account);
    for (const [service, { ends, durations, durationSumsMs }] of delta.services) {
      for (const [end, count] of Object.entries(ends)) this.#metrics.connections.inc({ service, end }, count);
      for (const [i, count] of durations.entries()) {
        const meanSeconds = (durationSumsMs[i] ?? 0) / Math.max(count, 1) / 1_000;
        for (let n = 0; n < count; n++) this.#metrics.durations.observe(meanSeconds, { service });
      }
    }
    for (const [reason, count] of Object.entries(delta.refused)) this.#metrics.refused.inc({ reason }, count);
  }

  /** A thread is no more, and its connections with it. */
  threadEnded(thread: number): void {
    for (const [series, open] of this.#byThread.get(thread) ?? []) this.#setOpen(series, series.open - open);
    this.#byThread.delete(thread);
  }

  /** Forgets what the snapshot no longer has, once its connections are over. Cost: services that changed and had connections. */
  sweep(snapshot: Snapshot): void {
    for (const [service, known] of this.#services) {
      if (this.#reserved.has(service)) continue;
      const view = snapshot.resources.get(`service/${service}`);
      if (view === known.view && !known.hasNew) continue;
      const current = new Set(view?.kind === 'service' ? view.endpoints.map((e) => e.id) : []);
      let hasLingering = false;
      for (const series of known.byEndpoint.values()) {
        if (current.has(series.endpoint)) continue;
        if (series.open === 0) this.#forget(known, series);
        else hasLingering = true;
      }
      known.view = view;
      known.hasNew = hasLingering;
      if (known.byEndpoint.size === 0) this.#services.delete(service);
    }
  }

  #addAccount(opened: Map<Series, number>, { service, endpoint, bytesIn, bytesOut, openChange, connectFailures }: Account): void {
    const series = this.#seriesOf(service, endpoint);
    if (bytesIn > 0) this.#metrics.bytes.inc({ service, endpoint, direction: 'in' }, bytesIn);
    if (bytesOut > 0) this.#metrics.bytes.inc({ service, endpoint, direction: 'out' }, bytesOut);
    if (connectFailures > 0) this.#metrics.connectFailures.inc({ service }, connectFailures);
    const open = (opened.get(series) ?? 0) + openChange;
    if (open === 0) opened.delete(series);
    else opened.set(series, open);
    this.#setOpen(series, series.open + openChange);
  }

  #setOpen(series: Series, open: number): void {
    series.open = open;
    this.#metrics.endpointConnections.set(open, { service: series.service, endpoint: series.endpoint });
  }

  #seriesOf(service: string, endpoint: string): Series {
    let known = this.#services.get(service);
    if (known === undefined) this.#services.set(service, (known = { byEndpoint: new Map(), view: undefined, hasNew: true }));
    let series = known.byEndpoint.get(endpoint);
    if (series === undefined) {
      known.byEndpoint.set(endpoint, (series = { service, endpoint, open: 0 }));
      known.hasNew = true;
    }
    return series;
  }

  #forget(known: ServiceSeries, { service, endpoint }: Series): void {
    known.byEndpoint.delete(endpoint);
    this.#metrics.endpointConnections.remove({ service, endpoint });
    for (const direction of ['in', 'out']) this.#metrics.bytes.remove({ service, endpoint, direction });
  }
}
