// What operators see of a control plane: its lists, and its state on one page.
import type { ProxyStatus, Push, Registry } from '@isthmus/discovery';
import type { Federation } from '@isthmus/federation';
import type { Authority, Bans, ForeignTrust, Issuance } from '@isthmus/identity';
import { type Export, formatServiceName, type Service } from '@isthmus/model';
import { programVersion, systemClock } from '@isthmus/runtime';
import type { Config } from './config.ts';
import type { Item, Source } from './feed.ts';
import type { Declarations } from './declarations.ts';
import { type Drains, proxiesOf } from './drains.ts';
import { identitiesOf } from './trust.ts';

type Parts = {
  readonly authority: Authority;
  readonly federation: Federation;
  readonly push: Push;
  readonly registry: Registry;
  readonly resources: Declarations;
  readonly issuance: Issuance;
  readonly bans: Bans;
  readonly foreign: ForeignTrust;
  readonly drains: Drains;
};

/** Records of the transparency log in one list: the newest. */
const LOG_RECORDS = 500;

/** One source a kind; every item is fit for JSON and holds no secret. */
export function makeSources({ authority, federation, push, registry, resources, issuance, bans, foreign, drains }: Parts): Readonly<Record<string, Source>> {
  const view = (list: () => readonly object[] | Promise<readonly object[]>, keyOf: (document: Fields) => string): Source => ({
    list: async () => (await list()).map((document) => ({ key: keyOf(document as Fields), document, revision: 0n })),
    isCurrent: () => true,
  });
  const declared = (kind: 'service' | 'export'): Source => {
    const toItem = (document: Service | Export): Item => ({ key: formatServiceName(document), document, revision: resources.revisionOf(kind, document) });
    return {
      list: async () => (kind === 'service' ? resources.services() : resources.exports()).map(toItem),
      get: (key) => {
        const [namespace = '', name = ''] = key.split('/');
        const found = kind === 'service' ? resources.service({ namespace, name }) : resources.export({ namespace, name });
        return found && toItem(found);
      },
      onChange: (fn) => resources.onChange((changed) => fn(changed.map(formatServiceName))),
      isCurrent: resources.isCurrent,
    };
  };
  return {
    service: declared('service'),
    export: declared('export'),
    workload: view(() => registry.list(), (w) => `${w['namespace']}/${w['service']}/${w['agent']}.${w['instance']}`),
    import: view(() => federation.imports(), (i) => `${i['namespace']}/${i['name']}/${i['cluster']}`),
    peer: view(() => federation.peers(), (p) => String(p['cluster'])),
    proxy: view(() => push.proxies().map(withLag), (p) => String(p['id'])),
    agent: view(() => proxiesOf('agent', { push, drains, issuance }), (p) => String(p['name'])),
    gateway: view(() => proxiesOf('gateway', { push, drains, issuance }), (p) => String(p['name'])),
    drain: { list: async () => drains.list(), isCurrent: drains.isCurrent },
    member: view(() => authority.members(), (m) => String(m['cluster'])),
    'federated-trust-domain': {
      list: async () => foreign.list().map((document) => ({ key: document.trustDomain, document, revision: foreign.revisionOf(document.trustDomain) })),
      isCurrent: resources.isCurrent,
    },
    entry: view(() => issuance.listEntries(), (e) => `${e['role']}/${e['agent']}`),
    'join-token': view(async () => (await issuance.listJoinTokens()).map(({ secretSha256: _hidden, ...token }) => token), (t) => String(t['id'])),
    certificate: view(() => certificates(authority), (c) => String(c['name'])),
    bundle: view(() => authority.bundles.all(), (b) => String(b['trustDomain'])),
    banned: view(() => authority.bundles.allBans(), (b) => String(b['trustDomain'])),
    ban: view(() => bans.all(), (b) => String(b['id'])),
    log: view(() => authority.ledger.read(Math.max(0, authority.ledger.head().records - LOG_RECORDS), LOG_RECORDS), (r) => String(r['index']).padStart(15, '0')),
    refused: view(() => resources.refused(), (r) => String(r['key'])),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function certificates(authority: Authority): readonly object[] {
  const { trustDomain, rootExpiresAtMs, intermediateExpiresAtMs, ownSvidExpiresAtMs } = authority.status();
  return [
    { name: 'root', spiffeId: `spiffe://${authority.federation}`, expiresAtMs: rootExpiresAtMs },
    { name: 'intermediate', spiffeId: `spiffe://${trustDomain}`, expiresAtMs: intermediateExpiresAtMs },
    { name: 'control-plane', spiffeId: `spiffe://${trustDomain}/control-plane`, expiresAtMs: ownSvidExpiresAtMs },
  ];
}

/** The state of the whole on one page. */
export function makeStatus(parts: Omit<Parts, 'issuance' | 'bans'> & { readonly config: Config }): () => object {
  const { config, authority, drains, federation, foreign, push, registry, resources } = parts;
  return () => ({
    version: programVersion(),
    cluster: config.cluster,
    federation: config.federation,
    locality: config.locality,
    identity: authority.status(),
    store: { kind: config.store.kind, current: resources.isCurrent(), refusedRecords: resources.refused() },
    services: resources.services().length,
    exports: resources.exports().length,
    workloads: countBy(registry.list(), (w) => w.health),
    peers: federation.peers(),
    foreignTrustDomains: foreign.status(),
    ...(config.kubernetes !== undefined && { kubernetes: resources.kubernetesStatus() }),
    proxies: push.proxies().map(withLag),
    drains: drains.list().map(({ document }) => document),
    identities: identitiesOf(push).map((member) => ({ ...member, ...(member.expiresAtMs !== undefined && { secondsToIdentityLoss: Math.max(0, Math.floor((member.expiresAtMs - systemClock.nowMs()) / 1_000)) }) })),
  });
}

function withLag(proxy: ProxyStatus): object {
  return { ...proxy, inSync: proxy.ackedVersion === proxy.sentVersion };
}

function countBy<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}
