// The admin API of one cluster: the REST face of its control plane, and the way to the admin APIs of the others.
import { join } from 'node:path';
import { clusterTrustDomain } from '@isthmus/model';
import { serveLogs, startRpcServer } from '@isthmus/rpc';
import { loadConfig, runProcess, serveHealth, type Stoppable, systemClock, systemRandom } from '@isthmus/runtime';
import { openLog, openMetrics } from '@isthmus/telemetry';
import { openAudit } from './audit.ts';
import { toGrants } from './auth/grants.ts';
import { openOidc } from './auth/oidc.ts';
import { configSchema } from './config.ts';
import { openControlPlane } from './control-plane.ts';
import { openForward } from './forward.ts';
import { makeHandler } from './handle.ts';
import { openApiIdentity } from './identity.ts';
import { startApiServer } from './server.ts';
import { openTrustRootClient } from './trust-root.ts';

const config = await loadConfig({ program: 'admin-api', schema: configSchema });
const log = openLog({ program: 'admin-api', level: config.log?.level ?? 'info', format: config.log?.format ?? 'json' });

await runProcess({
  program: 'admin-api',
  log,
  start: async (own: (part: Stoppable) => void, signal) => {
    const parts = { clock: systemClock, random: systemRandom, log, metrics: openMetrics() };
    const audit = await openAudit({ dir: config.stateDir, owner: clusterTrustDomain(config.cluster, config.federation), ...parts });
    own({ name: 'audit', stop: () => audit.close() });
    const controlPlane = openControlPlane({ socket: config.controlPlaneSocket, log });
    own({ name: 'control-plane', stop: async () => controlPlane.close() });
    const identity = await openApiIdentity({ controlPlane, trustDomain: clusterTrustDomain(config.cluster, config.federation), signal, ...parts });
    own({ name: 'identity', stop: () => identity.close() });
    const { svids, bundles } = identity;
    const forward = openForward({ controlPlane, svids, bundles });
    own({ name: 'forward', stop: () => forward.close() });
    const trustRoot = openTrustRootClient({ config, svids, bundles, log });
    own({ name: 'trust-root', stop: async () => trustRoot.close() });
    const grants = toGrants(config.grants);
    const handle = makeHandler({ config, grants, controlPlane, forward, trustRoot, audit, clock: parts.clock });
    const oidc = config.oidc.length === 0 ? undefined : openOidc({ issuers: config.oidc, ...parts });
    own({ name: 'oidc', stop: async () => oidc?.close() });
    const server = await startApiServer({ config, grants, svids, bundles, audit, handle, oidc, ...parts });
    own({ name: 'server', stop: () => server.close() });
    const operators = await startRpcServer({ listen: { unixPath: config.adminSocket ?? join(config.stateDir, 'admin.sock') }, services: [serveLogs(log)], log });
    own({ name: 'admin', stop: () => operators.close(1_000) });
    if (config.health !== undefined) {
      const checks = { identity: () => (svids.current()?.expiresAtMs ?? 0) > systemClock.nowMs() };
      const health = await serveHealth({ ...config.health, metrics: parts.metrics, checks });
      own({ name: 'health', stop: () => health.close() });
    }
    if (grants.length + config.oidc.length === 0) log.warn('nobody is granted anything: every request will be refused');
    log.info('ready', { cluster: config.cluster, port: server.port });
  },
});
