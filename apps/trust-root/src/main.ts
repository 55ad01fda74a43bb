// The trust root: one root CA for the federation, its members and their intermediates.
import { join } from 'node:path';
import { openTrustRoot } from '@isthmus/identity';
import { messageOf, parseTrustDomain, valueOf } from '@isthmus/model';
import { serveLogs, startRpcServer } from '@isthmus/rpc';
import { loadConfig, runProcess, serveHealth, type Stoppable, systemClock, systemRandom } from '@isthmus/runtime';
import { openLog, openMetrics } from '@isthmus/telemetry';
import { configSchema, intermediateTtlOf } from './config.ts';
import { openKeys } from './keys.ts';

const config = await loadConfig({ program: 'trust-root', schema: configSchema });
const log = openLog({ program: 'trust-root', level: config.log?.level ?? 'info', format: config.log?.format ?? 'json' });

await runProcess({
  program: 'trust-root',
  log,
  start: async (own: (part: Stoppable) => void) => {
    const [clock, metrics] = [systemClock, openMetrics()];
    const keys = await openKeys(config, { clock, log });
    own({ name: 'keys', stop: () => keys.close() });
    const root = await openTrustRoot({
      stateDir: config.stateDir,
      federation: valueOf(parseTrustDomain(config.federation, 'federation')),
      keyKind: config.keyKind,
      keys,
      operators: config.operators,
      intermediateTtlMs: valueOf(intermediateTtlOf(config)),
      clock,
      random: systemRandom,
      log,
      metrics,
    });
    own({ name: 'trust root', stop: () => root.close() });

    const { svids, bundles } = root;
    const server = await startRpcServer({ listen: config.listen, svids, bundles, services: [root.service, root.remote], log, metrics, clock });
    own({ name: 'rpc', stop: () => server.close(1_000) });

    const unixPath = config.adminSocket ?? join(config.stateDir, 'admin.sock');
    const operators = await startRpcServer({ listen: { unixPath }, services: [root.admin, serveLogs(log)], log });
    own({ name: 'admin', stop: () => operators.close(1_000) });

    if (config.health !== undefined) {
      const health = await serveHealth({ ...config.health, metrics, checks: { durable: root.isDurable, key: root.isKeyAvailable } });
      own({ name: 'health', stop: () => health.close() });
    }
    // Only now, since a second start by mistake ends at the ports above and must not write.
    await root.log.checkpoint().catch((error: unknown) => log.error('the transparency log could not be signed at the start', { error: messageOf(error) }));
    log.info('ready', { federation: config.federation, port: server.port, rootSha256: root.rootSha256 });
  },
});
