// A person who operates a federation in a test: joined by a token, asking an admin API over mutual TLS as the CLI does.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiClient, openApiClient } from '@isthmus/api';
import { names } from '@isthmus/cli/demo';
import { joinOrResume } from '@isthmus/identity';
import { reservedSni, spiffeIds } from '@isthmus/model';
import { svidToPem } from '@isthmus/pki';
import { dialTls } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openFetch } from '@isthmus/runtime/http';
import { silentLog } from '@isthmus/telemetry';
import type { TestFederation } from './federation.ts';

export type Operator = {
  readonly spiffeId: string;
  readonly client: ApiClient;
  /** The same identity as PEM, for programs. */
  readonly pem: { readonly certPem: string; readonly keyPem: string };
  close(): Promise<void>;
};

/** Joins cluster `cluster` as this operator and asks its admin API, or that of `asks`. */
export async function openOperator(mesh: TestFederation, cluster: string, name: string, asks: string = cluster): Promise<Operator> {
  const { federation } = mesh;
  const { token } = await federation.admin(cluster).createJoinToken({ agent: name, role: 'operator', services: [], ttlSeconds: 600 });
  const stateDir = mkdtempSync(join(tmpdir(), 'isthmus-operator-'));
  const identity = await joinOrResume({ stateDir, token, server: { address: `127.0.0.1:${federation.port(names.controlPlane(cluster))}` }, clock: systemClock, random: systemRandom, log: silentLog() });
  const plan = mesh.topology.clusters.find((c) => c.name === asks);
  if (plan === undefined) throw new Error(`no cluster ${asks}`);
  const address = `127.0.0.1:${federation.port(names.adminApi(asks))}`;
  const tls = { serverName: reservedSni('admin', plan.trustDomain), expectedId: spiffeIds.adminApi(plan.trustDomain), svids: identity.svids, bundles: identity.bundles };
  const { fetch, close } = openFetch(() => dialTls([address], tls, 'http/1.1'), { headersTimeoutMs: 30_000 });
  const svid = identity.svids.current();
  if (svid === undefined) throw new Error('the operator got no SVID');
  return {
    spiffeId: identity.spiffeId,
    client: openApiClient({ baseUrl: 'https://admin', fetch }),
    pem: svidToPem(svid),
    close: async () => {
      await close();
      await identity.close();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}
