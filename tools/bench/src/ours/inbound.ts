// Our agent's inbound proxy in a process of its own: mutual TLS in, plain out to the application.
import { startInbound } from '@isthmus/dataplane';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { serveCommands } from '../system/serve.ts';
import { bundlesFrom, svidsFrom } from './identity-files.ts';
import type { AgentSettings } from './outbound.ts';
import { SERVICE } from './service.ts';

serveCommands({
  start: async ({ listenPort, upstreamPort, mesh }: AgentSettings) => {
    const inbound = await startInbound({
      listen: { host: '127.0.0.1', port: listenPort },
      workload: { service: SERVICE, instance: 'bench', host: '127.0.0.1', port: upstreamPort, protocol: 'http' },
      svids: svidsFrom(mesh.service),
      bundles: bundlesFrom(mesh),
      log: silentLog(),
      metrics: openMetrics(),
    });
    return { port: inbound.port };
  },
});
