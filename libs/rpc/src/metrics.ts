// The metrics of serving.
import type { Counter, Metrics } from '@isthmus/telemetry';

export type RpcMetrics = { readonly refusedConnections: Counter };

export function rpcMetrics(metrics: Metrics): RpcMetrics {
  return {
    refusedConnections: metrics.counter('isthmus_rpc_refused_connections_total', 'Connections to the control plane’s port that were refused', ['reason']),
  };
}
