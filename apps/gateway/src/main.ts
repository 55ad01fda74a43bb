// The east-west gateway: joins its cluster, follows its snapshot, and relays by SNI on the one open port.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startEastWest, startGatewayLayer7 } from '@isthmus/dataplane';
import { compile } from '@isthmus/decide';
import { openDrainFollower, subscribe } from '@isthmus/discovery';
import { joinOrResume, openProxyAttestation } from '@isthmus/identity';
import { loadConfig, runProcess, serveHealth, type Stoppable, type StopReason, systemClock, systemRandom } from '@isthmus/runtime';
import { openLog, openMetrics } from '@isthmus/telemetry';
import { startAdmin } from './admin.ts';
import { configSchema } from './config.ts';

const config = await loadConfig({ program: 'gateway', schema: configSchema });
const log = openLog({ program: 'gateway', level: config.log?.level ?? 'info', format: config.log?.format ?? 'json' });

let engine = 'portable';
const drainMs = (why: StopReason): number => (why === 'handed-over' ? (config.handOverDrainMs ?? 600_000) : (config.drainMs ?? 5_000));

await runProcess({
  program: 'gateway',
  log,
  handOver: { pidFile: config.pidFile, whyNot: () => (engine === 'linux' ? undefined : 'the portable engine cannot share its port') },
  start: async (own: (part: Stoppable) => void, _signal, { sharesPort }) => {
    const parts = { clock: systemClock, random: systemRandom, log, metrics: openMetrics() };

    const token = config.joinToken ?? (config.joinTokenFile === undefined ? undefined : await readToken(config.joinTokenFile));
    const attestation = config.attestation === undefined ? undefined : await openProxyAttestation(config.attestation);
    const identity = await joinOrResume({ stateDir: join(config.stateDir, 'identity'), server: config.server, token, attestation, ...parts });
    own({ name: 'identity', stop: () => identity.close() });

    const { host, port } = config.listen;
    const address = config.advertise ?? (host === '0.0.0.0' || host === '::' || port === 0 ? undefined : `${host}:${port}`);
    const drain = await openDrainFollower({ stateFile: join(config.stateDir, 'drain'), address, clock: parts.clock, log });
    own({ name: 'drain', stop: () => drain.close() });
    const subscription = await subscribe({
      channel: identity.channel(),
      hello: { network: config.network, locality: config.locality },
      stateFile: join(config.stateDir, 'last-good.json'),
      bundles: identity.bundles,
      trust: { name: identity.agent, trustFacts: () => identity.trustFacts(), onTrust: (fn) => identity.onTrust(fn), takeHint: (hint) => identity.takeHint(hint) },
      drain: { name: identity.agent, follower: drain },
      ...parts,
    });
    own({ name: 'subscription', stop: () => subscription.close() });

    let routes = compile(subscription.snapshot());
    subscription.onSnapshot((snapshot) => {
      routes = compile(snapshot, routes);
    });

    const snapshots = { current: () => subscription.snapshot(), onChange: (fn: Parameters<typeof subscription.onSnapshot>[0]) => subscription.onSnapshot(fn) };
    // Beside a predecessor there is no falling back: only the Linux engine shares its port.
    const wantedEngine = sharesPort === 'joins' ? 'linux' : (config.engine ?? 'auto');
    const layer7 = await startGatewayLayer7({ engine: wantedEngine, snapshots, bundles: identity.bundles, svids: () => identity.svids, trustDomain: identity.trustDomain, onApplicationDown: () => undefined, ...parts });
    own({ name: 'layer-7', carriesTraffic: true, stop: () => layer7.close() });

    const proxy = await startEastWest({
      listen: { ...config.listen, sharesPort },
      snapshots,
      layer7: layer7.address,
      trustDomain: identity.trustDomain,
      reserved: config.reserved,
      engine: wantedEngine,
      ...(config.workers !== undefined && { workers: config.workers }),
      ...(config.limits && { limits: config.limits }),
      ...(config.proxyProtocol && { proxyProtocol: config.proxyProtocol }),
      ...parts,
    });
    engine = proxy.engine;
    own({ name: 'east-west', carriesTraffic: true, drainMs, stop: (why) => Promise.all([proxy, layer7].map((open) => open.close({ drainMs: drainMs(why) }))).then(() => undefined) });

    // It relays whoever still comes: who is told to go elsewhere needs a moment, and what is open must end by itself.
    drain.follow({ connections: () => proxy.serviceConnections });
    const admin = await startAdmin({ config, identity, subscription, drain, routes: () => routes, proxy, log, recent: log.recent });
    own({ name: 'admin', stop: () => admin.close(1_000) });

    if (config.health !== undefined) {
      const checks = {
        identity: () => (identity.svids.current()?.expiresAtMs ?? 0) > systemClock.nowMs(),
        snapshot: () => subscription.status().version > 0,
        'layer-7': () => layer7.isReady(),
        draining: () => !drain.covers(),
      };
      const health = await serveHealth({ host: config.health.host ?? '127.0.0.1', port: config.health.port, metrics: parts.metrics, checks });
      own({ name: 'health', stop: () => health.close() });
    }
    log.info('ready', { cluster: identity.cluster, port: proxy.port });
  },
});

/** The token of a file; undefined when it is gone, as it is after the first start. */
async function readToken(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
