// The data path of an agent, and of a gateway that ends TLS, as it ships, on a snapshot with one service whose endpoint never changes.
import assert from 'node:assert/strict';
import { type EngineKind, type Proxies, startProxies } from '@isthmus/dataplane';
import type { SvidSource } from '@isthmus/pki';
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
  const svids: Readonly<Record<string, SvidSource>> = { caller: svidsFrom(mesh.caller), service: svidsFrom(mesh.service), gateway: svidsFrom(mesh.gateway) };
  return startProxies({
    engine: engine ?? 'auto',
    snapshots: { current: () => snapshot, onChange: () => () => undefined },
    bundles: bundlesFrom(mesh),
    svids: (name) => svids[name] ?? assert.fail(`no SVID named ${name}`),
    onApplicationDown: () => undefined,
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    metrics: openMetrics(),
  });
}
