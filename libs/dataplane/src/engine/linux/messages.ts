// What the main thread and a relay worker say to each other: plain data.
import type { SnapshotResource } from '@isthmus/model';
import type { LogLevel } from '@isthmus/telemetry';
import type { ErrorMessage, LogMessage } from '../../worker/messages.ts';
import type { RelaySettings } from '../engine.ts';
import type { LedgerDelta } from '../ledger.ts';

export type ToRelayWorker =
  | { readonly kind: 'snapshot'; readonly version: number; readonly upserts: readonly (readonly [string, SnapshotResource])[]; readonly removals: readonly string[] }
  /** `first`: the port must be free. `joins`: other workers of this relay may have it. */
  | { readonly kind: 'listen'; readonly port: number; readonly sharesPort: 'first' | 'joins' }
  | { readonly kind: 'drain' }
  | { readonly kind: 'stop' };

export type FromRelayWorker =
  | { readonly kind: 'ready'; readonly wakeFd: number }
  | { readonly kind: 'listening'; readonly host: string; readonly port: number }
  | { readonly kind: 'failed'; readonly error: ErrorMessage }
  | { readonly kind: 'counts'; readonly delta: LedgerDelta | undefined; readonly connections: number }
  | { readonly kind: 'drained' }
  | LogMessage;

export type RelayWorkerStart = {
  /** `limits` are this worker's share. */
  readonly settings: RelaySettings;
  readonly logLevel: LogLevel;
  /** One byte a descriptor, 1 while the worker owns it: what has to be closed if it ends without doing so. */
  readonly descriptors: SharedArrayBuffer;
};
