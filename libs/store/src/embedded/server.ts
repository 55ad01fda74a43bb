// The embedded etcd v3 server.
import type { Log } from '@isthmus/telemetry';
import type { Clock } from '@isthmus/runtime';

export interface EmbeddedStoreOptions {
  /** The SQLite file; made if it is not there, 0600. */
  readonly path: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** PEM; client certificates signed by `ca` are required. Without it the server listens on loopback only. */
  readonly tls?: { readonly ca: string | Buffer; readonly cert: string | Buffer; readonly key: string | Buffer };
  readonly log: Log;
  readonly clock: Clock;
}

export interface EmbeddedStore {
  readonly port: number;
  close(): Promise<void>;
}

export function startEmbeddedStore(_options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  throw new Error('under construction');
}
