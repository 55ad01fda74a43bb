// The gateway as its host's operator sees it, on a Unix socket only (decision 0008).
import { join } from 'node:path';
import type { EastWest } from '@isthmus/dataplane';
import type { Engine } from '@isthmus/decide';
import type { DrainFollower, Subscription } from '@isthmus/discovery';
import type { Identity } from '@isthmus/identity';
import { IsthmusError } from '@isthmus/model';
import { agent, handleUnary, type RpcServer, serveLogs, startRpcServer } from '@isthmus/rpc';
import { programVersion } from '@isthmus/runtime';
import type { Log, RecentLines } from '@isthmus/telemetry';
import type { Config } from './config.ts';

export type AdminSources = {
  readonly config: Config;
  readonly identity: Identity;
  readonly subscription: Subscription;
  readonly drain: DrainFollower;
  readonly routes: () => Engine;
  readonly proxy: EastWest;
  readonly log: Log;
  /** What it logged last. */
  readonly recent: RecentLines;
};

/** Everything there is to know about this gateway, as a plain document. */
export function statusDocument({ config, identity, subscription, drain, routes, proxy }: AdminSources): object {
  return {
    name: identity.agent,
    programVersion: programVersion(),
    cluster: identity.cluster,
    trustDomain: identity.trustDomain,
    listen: `${proxy.host}:${proxy.port}`,
    engine: proxy.engine,
    workers: proxy.workers,
    connections: proxy.connections,
    ...(drain.covers() && { drain: { wanted: drain.desired(), ...drain.progress() } }),
    ...subscription.status(),
    identities: [identity.status()],
    exported: routes().services().filter((s) => s.view.exported).map((s) => `${s.view.namespace}/${s.view.name}`),
    reserved: config.reserved,
    residentBytes: process.memoryUsage.rss(),
  };
}

/** Serves ProxyAdmin: status and the services as this gateway sees them. */
export function startAdmin(sources: AdminSources): Promise<RpcServer> {
  const { config, subscription, routes, log } = sources;
  const implementation: agent.ProxyAdminServer = {
    status: handleUnary(async () => ({ document: Buffer.from(JSON.stringify(statusDocument(sources))) }), log),
    setDraining: handleUnary(() => Promise.reject(new IsthmusError('GATEWAY_NO_WORKLOADS', 'invalid', 'a gateway has no workloads to drain', { hint: 'ask the agent beside the workload' })), log),
    watchService: (call) => {
      const { namespace, name } = call.request;
      const resource = `service/${namespace}/${name}`;
      const tell = (): void => {
        if (call.writableNeedDrain) return;
        const view = routes().service({ namespace, name })?.view;
        call.write({ version: BigInt(subscription.status().version), document: view === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(view)) });
      };
      const stop = subscription.onSnapshot((_snapshot, changed) => {
        if (changed.includes(resource)) tell();
      });
      call.on('drain', tell).on('cancelled', stop).on('close', stop).on('error', stop);
      tell();
    },
  };
  return startRpcServer({
    listen: { unixPath: config.adminSocket ?? join(config.stateDir, 'admin.sock') },
    services: [{ definition: agent.ProxyAdminService, implementation }, serveLogs(sources)],
    log,
  });
}
