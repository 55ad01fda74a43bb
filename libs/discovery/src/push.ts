// Control plane to proxy: one stream each, one update under way at a time, the next sent when that one is acknowledged.
import type { ServiceName } from '@isthmus/model';
import type { discovery } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Registry } from './registry.ts';
import type { Views } from './views.ts';

export type PushOptions = {
  readonly views: Views;
  readonly registry: Registry;
  /** Proxies of this trust domain only are served. */
  readonly trustDomain: string;
  /** May this agent answer for this service? Asked for every reported workload. */
  readonly mayServe: (agent: string, service: ServiceName) => boolean | Promise<boolean>;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly ackTimeoutMs?: number;
  readonly maxProxies?: number;
};

/** One connected proxy, as operators see it. */
export type ProxyStatus = {
  readonly id: string;
  readonly kind: 'agent' | 'gateway';
  readonly network: string;
  readonly locality: string;
  readonly sentVersion: number;
  readonly ackedVersion: number;
  /** The last refusal, until a later version is taken. */
  readonly nack?: { readonly version: number; readonly reason: string };
  readonly connectedSinceMs: number;
};

export interface Push {
  /** For `startRpcServer({ services: [push] })`. */
  readonly definition: typeof discovery.DiscoveryService;
  readonly implementation: discovery.DiscoveryServer;
  proxies(): readonly ProxyStatus[];
  /** Ends every stream; proxies keep what they have and reconnect. */
  close(): void;
}

export function servePush(_options: PushOptions): Push {
  throw new Error('soon');
}
