// What operators see of a control plane: its lists, and its state on one page.
import type { ProxyStatus, Push, Registry } from '@isthmus/discovery';
import type { Federation } from '@isthmus/federation';
import type { Authority, Bans, ForeignTrust, Issuance } from '@isthmus/identity';
import { systemClock } from '@isthmus/runtime';
import type { Config } from './config.ts';
import type { Resources } from './resources.ts';
import { identitiesOf } from './trust.ts';

type Parts = {
  readonly authority: Authority;
  readonly federation: Federation;
  readonly push: Push;
  readonly registry: Registry;
  readonly resources: Resources;
  readonly issuance: Issuance;
  readonly bans: Bans;
};

/** Records of the transparency log in one list: the newest. */
const LOG_RECORDS = 500;

export type Lists = Readonly<Record<string, () => readonly object[] | Promise<readonly object[]>>>;

/** One function a kind; every item is fit for JSON and holds no secret. */
export function makeLists({ authority, federation, push, registry, resources, issuance, bans }: Parts): Lists {
  return {
    service: () => resources.services(),
    export: () => resources.exports(),
    workload: () => registry.list(),
    import: () => federation.imports(),
    peer: () => federation.peers(),
    proxy: () => push.proxies(),
    member: () => authority.members(),
    entry: () => issuance.listEntries(),
    'join-token': async () => (await issuance.listJoinTokens()).map(({ secretSha256: _hidden, ...token }) => token),
    certificate: () => certificates(authority),
    refused: () => resources.refused(),
    ban: () => bans.all(),
    log: () => authority.ledger.read(Math.max(0, authority.ledger.head().records - LOG_RECORDS), LOG_RECORDS),
  };
}

function certificates(authority: Authority): readonly object[] {
  const { trustDomain, rootExpiresAtMs, intermediateExpiresAtMs, ownSvidExpiresAtMs } = authority.status();
  return [
    { name: 'root', spiffeId: `spiffe://${authority.federation}`, expiresAtMs: rootExpiresAtMs },
    { name: 'intermediate', spiffeId: `spiffe://${trustDomain}`, expiresAtMs: intermediateExpiresAtMs },
    { name: 'control-plane', spiffeId: `spiffe://${trustDomain}/control-plane`, expiresAtMs: ownSvidExpiresAtMs },
  ];
}

/** The state of the whole on one page. */
export function makeStatus(parts: Omit<Parts, 'issuance' | 'bans'> & { readonly config: Config; readonly foreign: ForeignTrust }): () => object {
  const { config, authority, federation, foreign, push, registry, resources } = parts;
  return () => ({
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
    proxies: push.proxies().map(withLag),
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
