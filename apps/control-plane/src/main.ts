// The control plane of one cluster: takes services and workloads, issues identities, federates, and pushes snapshots.
import { join } from 'node:path';
import { openRegistry, openViews, type Push, servePush } from '@isthmus/discovery';
import { fileKeyStore, openAuthority, openClusterBans, readPassphrase, serveIssuance } from '@isthmus/identity';
import { messageOf, parseTrustDomain, type ServiceName, valueOf } from '@isthmus/model';
import { admin, serveLogs, startRpcServer } from '@isthmus/rpc';
import { loadConfig, runProcess, serveHealth, type Stoppable, systemClock, systemRandom } from '@isthmus/runtime';
import { serveShared } from '@isthmus/store';
import { openLog, openMetrics } from '@isthmus/telemetry';
import { makeAdminService } from './admin.ts';
import { readToken } from './bootstrap-token.ts';
import { callingCluster } from './caller.ts';
import { configSchema } from './config.ts';
import { openDeclarations } from './declarations.ts';
import { openDrains, openGateways } from './drains.ts';
import { openClusterFederation } from './federation.ts';
import { openForeign } from './foreign.ts';
import { openIdempotency } from './idempotency.ts';
import { makeSources, makeStatus } from './status.ts';
import { openClusterStore } from './store.ts';
import { followTrust } from './trust.ts';

const config = await loadConfig({ program: 'control-plane', schema: configSchema });
const log = openLog({ program: 'control-plane', level: config.log?.level ?? 'info', format: config.log?.format ?? 'json' });

await runProcess({
  program: 'control-plane',
  log,
  start: async (own: (part: Stoppable) => void) => {
    const [clock, random, metrics] = [systemClock, systemRandom, openMetrics()];
    const parts = { clock, random, log, metrics };
    const federationDomain = valueOf(parseTrustDomain(config.federation, 'federation'));

    const authorityDir = join(config.stateDir, 'authority');
    const authority = await openAuthority({
      stateDir: authorityDir,
      keys: fileKeyStore(authorityDir, { passphrase: config.keyPassphraseFile === undefined ? undefined : await readPassphrase(config.keyPassphraseFile), log }),
      cluster: config.cluster,
      federation: federationDomain,
      trustRoot: config.trustRoot,
      token: config.bootstrapTokenFile === undefined ? undefined : await readToken(config.bootstrapTokenFile),
      self: { locality: config.locality, gateways: config.gateways },
      ...(config.intervals?.svidTtlMs !== undefined && { svidTtlMs: config.intervals.svidTtlMs }),
      ...parts,
    });
    own({ name: 'authority', stop: () => authority.close() });
    const { trustDomain, svids, bundles } = authority;

    const clusterStore = await openClusterStore(config, parts);
    const { store } = clusterStore;
    own({ name: 'store', stop: () => clusterStore.close() });
    const registry = await openRegistry({ store, ...parts, ...(config.intervals?.graceMs !== undefined && { graceMs: config.intervals.graceMs }) });
    own({ name: 'registry', stop: () => registry.close() });

    // Declarations feed views and exports; registry and federation feed the views: one direction each.
    let onDeclared = (_changed: readonly ServiceName[]): void => undefined;
    const resources = await openDeclarations(config, { store, registry, ...parts, onChange: (changed) => onDeclared(changed) });
    own({ name: 'resources', stop: () => resources.close() });
    const bans = await openClusterBans({ authority, store, cluster: config.cluster, ...parts });
    own({ name: 'bans', stop: () => bans.close() });
    const drains = await openDrains({ store, log });
    own({ name: 'drains', stop: () => drains.close() });
    let progress: Push['drains'] = () => [];
    const gateways = (): readonly string[] => openGateways(config.gateways, drains, progress);
    const federation = await openClusterFederation(config, { authority, gateways, resources, registry, bans }, { store, ...parts });
    own({ name: 'federation', stop: () => federation.close() });
    resources.followFederation(federation);

    const foreign = await openForeign(config, authority, { store, ...parts });
    own({ name: 'foreign trust domains', stop: () => foreign.close() });
    const views = openViews({
      cluster: config.cluster,
      trustDomain,
      locality: config.locality,
      get gateways() {
        return gateways();
      },
      registry,
      bundles,
      foreign: foreign.trust.bundles,
      services: resources.services,
      service: resources.service,
      export: resources.export,
      imports: () => federation.imports(),
      importsOf: (name) => federation.importsOf(name),
      peers: () => federation.peers(),
    });
    own({ name: 'views', stop: async () => views.close() });
    registry.onChange((changed) => federation.publish(changed));
    federation.onImports((changed) => views.changed(changed));
    federation.onPeers(() => views.peersChanged());
    onDeclared = (changed) => {
      views.changed(changed);
      federation.publish(changed);
    };
    bans.onChange(() => federation.publishBans());
    const issuance = serveIssuance({ authority, store, cluster: config.cluster, attestation: config.attestation, bans, ...parts });
    own({ name: 'issuance', stop: () => issuance.close() });
    const push = servePush({ views, registry, trustDomain, mayServe: issuance.mayServe, desiredDrain: drains.desired, ...parts });
    progress = push.drains;
    drains.onChange((role, name) => push.drainChanged(role, name));
    // Which gateways take new connections is part of every service’s view.
    push.onDrain(({ kind }) => kind === 'gateway' && views.changed(resources.services()));
    followTrust(authority, issuance, push, metrics);
    const door = serveShared({
      endpoints: clusterStore.endpoints,
      ...(clusterStore.tls && { tls: clusterStore.tls }),
      ...(clusterStore.auth && { auth: clusterStore.auth }),
      authorize: (caller) => callingCluster(caller, authority.members()),
      ...parts,
    });
    own({ name: 'door', stop: () => door.close() });
    const server = await startRpcServer({ listen: config.listen, svids, bundles, services: [issuance, push, ...door.services], log, metrics, clock });
    own({ name: 'rpc', stop: () => server.close(2_000) });
    own({ name: 'push', stop: async () => push.close() });
    const status = makeStatus({ config, authority, foreign: foreign.trust, federation, push, registry, resources, drains });
    const idempotency = openIdempotency({ store, clock, log });
    own({ name: 'idempotency', stop: () => idempotency.close() });
    const adminService = makeAdminService({ store, resources, issuance, idempotency, bans, connectedGateways: () => push.proxies().flatMap((p) => (p.kind === 'gateway' && p.name !== undefined ? [p.name] : [])), authority, foreign: foreign.trust, status, sources: makeSources({ authority, federation, push, registry, resources, issuance, bans, foreign: foreign.trust, drains }), clock, log });
    const unixPath = config.adminSocket ?? join(config.stateDir, 'admin.sock');
    const operators = await startRpcServer({ listen: { unixPath }, services: [{ definition: admin.AdminService, implementation: adminService }, foreign.service, serveLogs(log)], log });
    own({ name: 'admin', stop: () => operators.close(1_000) });

    if (config.health !== undefined) {
      const health = await serveHealth({ ...config.health, metrics, checks: { store: resources.isCurrent, log: () => authority.ledger.isWritable() } });
      own({ name: 'health', stop: () => health.close() });
    }
    // Only now, since a second start by mistake ends at the ports above and must not write.
    await authority.ledger.checkpoint().catch((error: unknown) => log.error('the transparency log could not be signed at the start', { error: messageOf(error) }));
    log.info('ready', { cluster: config.cluster, port: server.port });
  },
});
