// Builders of what views are made from, and an API server that misbehaves, for tests.
import type { ImportedService, Registration } from '@isthmus/model';

export { aKubeService, aPod, aServiceExport, aSlice, type ScriptedApiServer, startScriptedApiServer } from './source/kubernetes/scripted-api-server.ts';

export function aRegistration(over: Partial<Registration> = {}): Registration {
  return {
    namespace: 'shop',
    service: 'payments',
    instance: 'p1',
    agent: 'a1',
    address: '10.0.0.1',
    inboundPorts: { http: 15_001 },
    network: 'main',
    locality: 'eu/a/r1',
    weight: 100,
    health: 'healthy',
    sequence: 1,
    ...over,
  };
}

export function anImport(over: Partial<ImportedService> = {}): ImportedService {
  return {
    namespace: 'shop',
    name: 'payments',
    cluster: 'west',
    trustDomain: 'west.acme.example',
    ports: [{ name: 'http', port: 8080, protocol: 'http' }],
    readyCount: 3,
    totalCount: 3,
    readyWeight: 300,
    state: 'fresh',
    gateways: ['192.0.2.1:15443'],
    locality: 'us/a',
    ...over,
  };
}

/** Waits for a condition, however slow the machine. **Throws** after half a minute. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 3_000; i += 1) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain for ${what}`);
}
