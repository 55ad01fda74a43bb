// Our gateway's relay in a process of its own, on a snapshot with one exported service: what the layer-4 workloads measure.
import { type EngineKind, startEastWest } from '@isthmus/dataplane';
import type { TrustDomain } from '@isthmus/model';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { serveCommands } from '../system/serve.ts';
import { serviceSnapshot, TRUST_DOMAIN } from './service.ts';

export type GatewaySettings = { readonly listenPort: number; readonly upstreamPort: number; readonly workers: number; readonly engine: EngineKind | undefined };

/** More than the workloads open, and no more than a process may hold. */
const CONNECTIONS = 16_384;

serveCommands({
  start: async ({ listenPort, upstreamPort, workers, engine }: GatewaySettings) => {
    const snapshot = serviceSnapshot(upstreamPort);
    const gateway = await startEastWest({
      listen: { host: '127.0.0.1', port: listenPort },
      snapshots: { current: () => snapshot, onChange: () => () => undefined },
      trustDomain: TRUST_DOMAIN as TrustDomain,
      reserved: {},
      limits: { connections: CONNECTIONS, endpointConnections: CONNECTIONS },
      engine: engine ?? 'auto',
      workers,
      log: silentLog(),
      metrics: openMetrics(),
    });
    return { port: gateway.port, about: `${gateway.engine} engine${gateway.workers > 0 ? `, workers: ${gateway.workers}` : ''}` };
  },
});
