// The agent: identity, snapshot, inbound and outbound listeners, DNS and health checks beside the workloads of one machine.
import { startProxies } from '@isthmus/dataplane';
import { startWorkloadApi } from '@isthmus/identity';
import { parseServiceName, valueOf } from '@isthmus/model';
import { loadConfig, runProcess, serveHealth, type Stoppable, type StopReason, systemClock, systemRandom } from '@isthmus/runtime';
import { openLog, openMetrics } from '@isthmus/telemetry';
import { startAdmin } from './admin.ts';
import { openCapture, startNames } from './capture.ts';
import { configSchema } from './config.ts';
import { joinCluster, openKnowledge, type Parts } from './join.ts';
import { startOutboundListeners } from './outbound.ts';
import { servedWorkloads } from './workload-api.ts';
import { loadWorkloads, startWorkloads } from './workloads.ts';

const config = await loadConfig({ program: 'agent', schema: configSchema });
const log = openLog({ program: 'agent', level: config.log?.level ?? 'info', format: config.log?.format ?? 'json' });

let engine = 'portable';
const drainMs = (why: StopReason): number => (why === 'handed-over' ? (config.handOverDrainMs ?? 600_000) : (config.drainMs ?? 5_000));

await runProcess({
  program: 'agent',
  log,
  handOver: { pidFile: config.pidFile, whyNot: () => (config.kubernetes !== undefined ? 'ports of pods are given out as they come, and another’s must not answer' : engine === 'linux' ? undefined : 'the portable engine cannot share its ports') },
  start: async (own: (part: Stoppable) => void, _signal, { sharesPort }) => {
    const parts: Parts = { clock: systemClock, random: systemRandom, log, metrics: openMetrics() };
    const planned = await loadWorkloads(config, log);

    const identity = await joinCluster(config, parts);
    own({ name: 'identity', stop: () => identity.close() });

    const knowledge = await openKnowledge(config, identity, parts);
    own({ name: 'subscription', stop: () => knowledge.close() });

    const proxies = await startProxies({
      // Beside a predecessor there is no falling back: only the Linux engine shares its ports.
      engine: sharesPort === 'joins' ? 'linux' : (config.engine ?? 'auto'),
      snapshots: { current: () => knowledge.subscription.snapshot(), onChange: (fn) => knowledge.subscription.onSnapshot(fn) },
      bundles: identity.bundles,
      svids: (name) => (name === '' ? identity.svids : identity.serviceSvids(valueOf(parseServiceName(name, 'svids')))),
      onApplicationDown: (service, instance, error) => workloads.applicationDown(service, instance, error),
      ...parts,
    });
    engine = proxies.engine;
    own({ name: 'data path', carriesTraffic: true, stop: () => proxies.close() });

    const workloads = await startWorkloads(config, planned, identity, knowledge, proxies, { ...parts, sharesPort });
    own({ name: 'workloads', carriesTraffic: true, drainMs, stop: (why) => workloads.close(drainMs(why)) });

    const capture = await openCapture(config, proxies, { ...parts, sharesPort });
    const listeners = await startOutboundListeners(config, knowledge, proxies, capture, { ...parts, sharesPort });
    own({ name: 'outbound', carriesTraffic: true, drainMs, stop: (why) => listeners.close(drainMs(why)) });

    const names = await startNames(config, listeners, { ...parts, sharesPort });
    own({ name: 'dns', carriesTraffic: true, stop: (why) => names.close(why) });

    const workloadApi =
      config.workloadApi === undefined
        ? undefined
        : await startWorkloadApi({ socketPath: config.workloadApi.socket, mode: Number.parseInt(config.workloadApi.mode ?? '0666', 8), identity, workloads: servedWorkloads(planned, log), ...parts });
    if (workloadApi !== undefined) own({ name: 'workload API', stop: () => workloadApi.close() });

    const node = config.kubernetes === undefined ? undefined : await (await import('./kubernetes.ts')).speakForNode(config, config.kubernetes, workloads, parts);
    if (node !== undefined) own({ name: 'kubernetes', stop: () => node.close() });

    const services = new Map(planned.map(({ workload }) => [`${workload.namespace}/${workload.service}`, { namespace: workload.namespace, name: workload.service }]));
    const callAs = config.identity?.callAs;
    if (callAs !== undefined) services.set(callAs, valueOf(parseServiceName(callAs, 'identity.callAs')));
    const svids = [identity.svids, ...[...services.values()].map((service) => identity.serviceSvids(service))];
    const admin = await startAdmin({ config, identity, knowledge, workloads, listeners, names, svids, workloadApi, recent: log.recent }, parts);
    own({ name: 'admin', stop: () => admin.close(1_000) });

    if (config.health !== undefined) {
      const health = await serveHealth({
        host: config.health.host ?? '127.0.0.1',
        port: config.health.port,
        metrics: parts.metrics,
        checks: { identity: () => (identity.svids.current()?.expiresAtMs ?? 0) > systemClock.nowMs(), snapshot: () => knowledge.subscription.status().version > 0 },
      });
      own({ name: 'health', stop: () => health.close() });
    }
    log.info('ready', { agent: identity.agent, cluster: identity.cluster, workloads: planned.length, listeners: listeners.status().length });
  },
});
