// The agent's data path as it ships, on a snapshot with one service whose endpoint never changes.
import { type EngineKind, type Proxies, startProxies } from '@isthmus/dataplane';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { BundleFile } from '../system/identity.ts';
import { bundlesFrom, svidsFrom } from './identity-files.ts';
import { serviceSnapshot } from './service.ts';

export type AgentSettings = {
  readonly listenPort: number;
  /** Of the endpoint for outbound, of the application for inbound. */
  readonly upstreamPort: number;
  readonly mesh: BundleFile;
  readonly engine: EngineKind | undefined;
};

export function startAgent({ upstreamPort, mesh, engine }: AgentSettings): Promise<Proxies> {
  const snapshot = serviceSnapshot(upstreamPort, [{ kind: 'bundle', bundle: mesh.bundle }]);
  const svids = { caller: svidsFrom(mesh.caller), service: svidsFrom(mesh.service) };
  return startProxies({
    engine: engine ?? 'auto',
    snapshots: { current: () => snapshot, onChange: () => () => undefined },
    bundles: bundlesFrom(mesh),
    svids: (name) => (name === 'caller' ? svids.caller : svids.service),
    onApplicationDown: () => undefined,
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    metrics: openMetrics(),
  });
}
