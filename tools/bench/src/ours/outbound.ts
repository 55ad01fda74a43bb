// Our agent's outbound proxy in a process of its own: plain in, mutual TLS out to the one endpoint of a snapshot.
import { startOutbound } from '@isthmus/dataplane';
import { compile } from '@isthmus/decide';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { BundleFile } from '../system/identity.ts';
import { serveCommands } from '../system/serve.ts';
import { bundlesFrom, svidsFrom } from './identity-files.ts';
import { SERVICE, serviceSnapshot } from './service.ts';

export type AgentSettings = { readonly listenPort: number; readonly upstreamPort: number; readonly mesh: BundleFile };

serveCommands({
  start: async ({ listenPort, upstreamPort, mesh }: AgentSettings) => {
    const engine = compile(serviceSnapshot(upstreamPort, [{ kind: 'bundle', bundle: mesh.bundle }]));
    const outbound = await startOutbound({
      listen: { host: '127.0.0.1', port: listenPort },
      service: SERVICE,
      port: 'http',
      protocol: 'http',
      engine: () => engine,
      svids: svidsFrom(mesh.caller),
      bundles: bundlesFrom(mesh),
      log: silentLog(),
      metrics: openMetrics(),
    });
    return { port: outbound.port };
  },
});
