// The gateway's metrics; label values come from closed sets, never from what a stranger sent.
import type { Counter, Gauge, Metrics } from '@isthmus/telemetry';

export type GatewayMetrics = {
  readonly refused: Counter;
  readonly connections: Counter;
  readonly bytes: Counter;
  readonly open: Gauge;
  readonly connectFailures: Counter;
};

export function gatewayMetrics(metrics: Metrics): GatewayMetrics {
  return {
    refused: metrics.counter('isthmus_gateway_refused_total', 'Connections refused before anything was dialled', ['reason']),
    connections: metrics.counter('isthmus_gateway_connections_total', 'Connections relayed, by how they ended', ['service', 'end']),
    bytes: metrics.counter('isthmus_gateway_bytes_total', 'Bytes relayed', ['service', 'direction']),
    open: metrics.gauge('isthmus_gateway_open_connections', 'Connections open now'),
    connectFailures: metrics.counter('isthmus_gateway_connect_failures_total', 'Endpoints that could not be connected to', ['service']),
  };
}
