// A cluster's own store, opened with the control plane's credentials: for tests that break what lies in it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { names, portNames } from '@isthmus/cli/demo';
import { systemClock } from '@isthmus/runtime';
import { openStore, type Store } from '@isthmus/store';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { TestFederation } from './federation.ts';

/** Opens the embedded store of a cluster; the caller closes it. */
export function openClusterStore(mesh: TestFederation, cluster: string): Promise<Store> {
  const directory = join(mesh.paths.state(names.controlPlane(cluster)), 'store-tls');
  const read = (file: string): string => readFileSync(join(directory, file), 'utf8');
  return openStore({
    endpoints: [`https://127.0.0.1:${mesh.federation.port(portNames.store(cluster))}`],
    tls: { ca: read('ca.pem'), cert: read('client.pem'), key: read('client-key.pem') },
    log: silentLog(),
    metrics: openMetrics(),
    clock: systemClock,
  });
}
