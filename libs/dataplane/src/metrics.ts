// The data plane's metrics that more than one part counts; label values come from closed sets, never from what a stranger sent.
import type { Counter, Gauge, Histogram, Metrics } from '@isthmus/telemetry';
import { DURATION_BOUNDS_MS } from './engine/ledger.ts';

export type GatewayMetrics = {
  readonly refused: Counter;
  readonly connections: Counter;
  readonly bytes: Counter;
  readonly open: Gauge;
  readonly endpointConnections: Gauge;
  readonly durations: Histogram;
  readonly connectFailures: Counter;
};

export function gatewayMetrics(metrics: Metrics): GatewayMetrics {
  const boundsSeconds = DURATION_BOUNDS_MS.map((ms) => ms / 1_000);
  return {
    refused: metrics.counter('isthmus_gateway_refused_total', 'Connections refused before anything was dialled', ['reason']),
    connections: metrics.counter('isthmus_gateway_connections_total', 'Connections relayed, by how they ended', ['service', 'end']),
    bytes: metrics.counter('isthmus_gateway_bytes_total', 'Bytes relayed, while connections last; `in` is towards the endpoint', ['service', 'endpoint', 'direction']),
    open: metrics.gauge('isthmus_gateway_open_connections', 'Connections open now'),
    endpointConnections: metrics.gauge('isthmus_gateway_endpoint_connections', 'Connections to an endpoint now, those being dialled among them', ['service', 'endpoint']),
    durations: metrics.histogram('isthmus_gateway_connection_seconds', 'How long connections lasted, from accept to close', ['service'], boundsSeconds),
    connectFailures: metrics.counter('isthmus_gateway_connect_failures_total', 'Endpoints that could not be connected to', ['service']),
  };
}

/** Threads of either engine that died. */
export function threadRestarts(metrics: Metrics): Counter {
  return metrics.counter('isthmus_dataplane_worker_restarts_total', 'Data-plane threads replaced because they died');
}
