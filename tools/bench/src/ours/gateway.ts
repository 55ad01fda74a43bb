// Our gateway's relay in a process of its own, on a snapshot with one exported service: what the layer-4 workloads measure.
import { startEastWest } from '@isthmus/dataplane';
import { compile } from '@isthmus/decide';
import type { TrustDomain } from '@isthmus/model';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { serveCommands } from '../system/serve.ts';
import { serviceSnapshot, TRUST_DOMAIN } from './service.ts';

export type GatewaySettings = { readonly listenPort: number; readonly upstreamPort: number; readonly workers: number; readonly engine: string | undefined };

serveCommands({
  start: async ({ listenPort, upstreamPort }: GatewaySettings) => {
    const engine = compile(serviceSnapshot(upstreamPort));
    const gateway = await startEastWest({
      listen: { host: '127.0.0.1', port: listenPort },
      engine: () => engine,
      trustDomain: TRUST_DOMAIN as TrustDomain,
      reserved: {},
      limits: { connections: 1_000_000, hellos: 1_000_000 },
      log: silentLog(),
      metrics: openMetrics(),
    });
    return { port: gateway.port };
  },
});
