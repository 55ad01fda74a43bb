// What the main thread and a data-plane worker say to each other. Keys go to the worker of the same process and nowhere else.
import type { KeyObject } from 'node:crypto';
import type { BansView, Bundle, ServiceName, SnapshotResource } from '@isthmus/model';
import type { LogFields, LogLevel } from '@isthmus/telemetry';
import type { ServiceAddresses } from '../proxy/captured.ts';
import type { CapturedSpec, GatewayHttpSpec, InboundSpec, OutboundSpec, SvidName } from './spec.ts';

/** An SVID as it survives structured cloning. */
export type SvidMessage = { readonly chain: readonly Uint8Array[]; readonly key: KeyObject };

export type ToWorker =
  | { readonly kind: 'snapshot'; readonly version: number; readonly upserts: readonly (readonly [string, SnapshotResource])[]; readonly removals: readonly string[] }
  | { readonly kind: 'svid'; readonly name: SvidName; readonly svid: SvidMessage | undefined }
  | { readonly kind: 'bundles'; readonly bundles: readonly Bundle[]; readonly bans: readonly BansView[]; readonly revoked: readonly string[] }
  | { readonly kind: 'inbound'; readonly id: number; readonly spec: InboundSpec }
  | { readonly kind: 'outbound'; readonly id: number; readonly spec: OutboundSpec }
  | { readonly kind: 'gateway-http'; readonly id: number; readonly spec: GatewayHttpSpec }
  | { readonly kind: 'captured'; readonly id: number; readonly spec: CapturedSpec }
  | { readonly kind: 'captured-addresses'; readonly id: number; readonly addresses: ServiceAddresses; readonly drainMs: number }
  | { readonly kind: 'close'; readonly id: number; readonly drainMs: number }
  | { readonly kind: 'stop' };

/** An error with what people and programs read of it. */
export type ErrorMessage = { readonly code: string; readonly class: string; readonly message: string; readonly hint: string | undefined; readonly facts: Readonly<Record<string, unknown>> };

/** Changes since the message before: counters by how much they grew, gauges by their value. */
export type MetricMessage =
  | { readonly kind: 'counter' | 'gauge'; readonly name: string; readonly help: string; readonly labelNames: readonly string[]; readonly labels: Readonly<Record<string, string>>; readonly value: number }
  | { readonly kind: 'histogram'; readonly name: string; readonly help: string; readonly labelNames: readonly string[]; readonly buckets: readonly number[] | undefined; readonly labels: Readonly<Record<string, string>>; readonly values: readonly number[] }
  | { readonly kind: 'removed'; readonly of: 'counter' | 'gauge' | 'histogram'; readonly name: string; readonly help: string; readonly labelNames: readonly string[]; readonly labels: Readonly<Record<string, string>> };

/** A line for the main thread's log. */
export type LogMessage = { readonly kind: 'log'; readonly level: LogLevel; readonly message: string; readonly fields: LogFields };

export type FromWorker =
  | { readonly kind: 'ready'; readonly wakeFd: number }
  | { readonly kind: 'opened'; readonly id: number; readonly host: string; readonly port: number }
  | { readonly kind: 'failed'; readonly id: number; readonly error: ErrorMessage }
  | { readonly kind: 'closed'; readonly id: number }
  | { readonly kind: 'status'; readonly connections: readonly (readonly [number, number])[]; readonly metrics: readonly MetricMessage[] }
  | LogMessage
  | { readonly kind: 'application-down'; readonly service: ServiceName; readonly instance: string; readonly message: string };

export type WorkerStart = {
  readonly logLevel: LogLevel;
  /** One byte a descriptor, 1 while the worker owns it: what has to be closed if the worker ends without doing so. */
  readonly descriptors: SharedArrayBuffer;
};
