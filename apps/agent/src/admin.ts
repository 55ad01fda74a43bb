// The agent as its host's operator sees it, on a Unix socket only (decision 0008).
import { join as joinPath } from 'node:path';
import type { Identity, WorkloadApi } from '@isthmus/identity';
import type { ServiceName } from '@isthmus/model';
import { svidToPem, type SvidSource } from '@isthmus/pki';
import { agent, type RpcServer, serveLogs, startRpcServer, toServiceError } from '@isthmus/rpc';
import { programVersion } from '@isthmus/runtime';
import type { RecentLines } from '@isthmus/telemetry';
import type { Names } from './capture.ts';
import type { Config } from './config.ts';
import type { Knowledge, Parts } from './join.ts';
import type { OutboundListeners } from './outbound.ts';
import { serviceView, type Workloads } from './workloads.ts';

export type AdminSources = {
  readonly config: Config;
  readonly identity: Identity;
  readonly knowledge: Knowledge;
  readonly workloads: Workloads;
  readonly listeners: OutboundListeners;
  readonly names: Names;
  /** The SVIDs shown; certificates only, never a key. */
  readonly svids: readonly SvidSource[];
  readonly workloadApi?: WorkloadApi | undefined;
  /** What it logged last. */
  readonly recent: RecentLines;
};

/** Everything there is to know about this agent, as a plain document. */
export function statusDocument({ config, identity, knowledge, workloads, listeners, names, svids, workloadApi }: AdminSources): object {
  const subscription = knowledge.subscription.status();
  const own = identity.status();
  return {
    name: identity.agent,
    programVersion: programVersion(),
    cluster: identity.cluster,
    trustDomain: identity.trustDomain,
    network: config.network,
    locality: config.locality,
    ...subscription,
    secondsToIdentityLoss: own.secondsToIdentityLoss,
    clockSkewMs: own.clockSkewMs,
    ...(own.lastError === undefined ? {} : { identityError: own.lastError }),
    identities: [{ spiffeId: own.spiffeId, expiresAtMs: own.expiresAtMs }, ...own.services],
    svids: svids.flatMap((source) => {
      const svid = source.current();
      return svid === undefined ? [] : [{ spiffeId: svid.spiffeId, expiresAtMs: svid.expiresAtMs, certPem: svidToPem(svid).certPem }];
    }),
    ...(knowledge.drain.desired().draining && { drain: { wanted: knowledge.drain.desired(), ...knowledge.drain.progress() } }),
    workloads: workloads.status(),
    listeners: listeners.status(),
    ...(config.dns === undefined ? {} : { dns: `${config.dns.host ?? '127.0.0.1'}:${config.dns.port}` }),
    ...(names.captureStatus() === undefined ? {} : { capture: names.captureStatus() }),
    ...(workloadApi === undefined ? {} : { workloadApi: { socket: workloadApi.socketPath, calls: workloadApi.open() } }),
    residentBytes: process.memoryUsage.rss(),
  };
}

/** Serves ProxyAdmin. */
export function startAdmin(sources: AdminSources, parts: Parts): Promise<RpcServer> {
  const { config, knowledge, workloads } = sources;
  const implementation: agent.ProxyAdminServer = {
    status: (_call, done) => done(null, { document: json(statusDocument(sources)) }),
    setDraining: ({ request }, done) => {
      try {
        workloads.setDraining({ namespace: request.namespace, name: request.service }, request.instance, request.draining);
        done(null, {});
      } catch (error) {
        done(toServiceError(error), null);
      }
    },
    watchService: (call) => {
      const service: ServiceName = { namespace: call.request.namespace, name: call.request.name };
      const name = `service/${service.namespace}/${service.name}`;
      let waiting = false;
      let due = false;
      // One message under way at most; what changes meanwhile is told once, as it is then.
      const tell = (): void => {
        if (waiting) return void (due = true);
        const view = serviceView(knowledge, service);
        waiting = !call.write({ version: BigInt(knowledge.subscription.status().version), document: view === undefined ? Buffer.alloc(0) : json(view) });
      };
      call.on('drain', () => {
        waiting = false;
        if (!due) return;
        due = false;
        tell();
      });
      const stop = knowledge.onEngine((_engine, changed) => {
        if (changed.includes(name)) tell();
      });
      call.on('cancelled', stop);
      call.on('close', stop);
      call.on('error', stop);
      tell();
    },
  };
  return startRpcServer({
    listen: { unixPath: config.adminSocket ?? joinPath(config.stateDir, 'admin.sock') },
    services: [{ definition: agent.ProxyAdminService, implementation }, serveLogs(sources)],
    log: parts.log,
  });
}

function json(document: object): Buffer {
  return Buffer.from(JSON.stringify(document));
}
