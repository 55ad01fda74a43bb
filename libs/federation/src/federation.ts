// Cluster to cluster: what this one offers, signed; what the others offer, verified and mirrored; how the others are.
import { type Ban, type ImportedService, type Member, parseClusterRecord, type ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { RpcChannel } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import { keys, openPeerStore, type Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { ExportedService } from './digest.ts';
import type { PeerLink } from './follow-peer.ts';
import { ImportTable } from './import-table.ts';
import { DEFAULT_PEER_QUOTA, Mirror, type PeerQuota, type PeerStatus } from './mirror.ts';
import { MirrorRecords } from './mirror-records.ts';
import { DEFAULT_PEER_TIMES, type PeerTimes } from './peer-state.ts';
import { Publisher } from './publish.ts';

export type FederationOptions = {
  readonly store: Store;
  readonly cluster: string;
  readonly trustDomain: string;
  readonly locality: string;
  /** `host:port` of the own gateways that take new connections, as peers reach them; asked at every heartbeat. */
  readonly gateways: () => readonly string[];
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Every cluster of the federation, as the trust root says; the own one among them is skipped. Empty means not known yet. */
  members(): readonly Member[];
  onMembers(fn: () => void): () => void;
  /** A channel to the store of that member (reserved SNI `store`, expected ID its control plane's). Closed by federation. */
  dialPeer(member: Member): RpcChannel;
  exports(): readonly ExportedService[];
  exportOf(name: ServiceName): ExportedService | undefined;
  /** This cluster’s bans, for the peers; none without it. */
  bans?(): readonly Ban[];
  /** What a peer bans of its own trust domain; called with all of it at every change, and with none when the peer is gone. */
  onPeerBans?(trustDomain: string, bans: readonly Ban[]): void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Another way to a peer's shared keys than a channel. */
  readonly openPeer?: (member: Member) => PeerLink;
  readonly times?: Partial<PeerTimes>;
  readonly quota?: Partial<PeerQuota>;
  /** How long a mass removal by a peer is held back; 60 s. */
  readonly massRemovalGraceMs?: number;
  /** How long after the start less than an earlier life announced is not announced; 10 s, the registry's grace. */
  readonly settleMs?: number;
};

export interface Federation {
  /** Tells that these services, their exports or their workloads changed; cheap when nothing that peers see did. */
  publish(changed: readonly ServiceName[]): void;
  /** Tells that this cluster’s bans changed. */
  publishBans(): void;
  imports(): readonly ImportedService[];
  importsOf(name: ServiceName): readonly ImportedService[];
  /** Called with the services whose imports changed, also when a peer's state changed. */
  onImports(fn: (changed: readonly ServiceName[]) => void): () => void;
  /** Called when peers came, went or changed state. */
  onPeers(fn: () => void): () => void;
  peers(): readonly PeerStatus[];
  /** Forgets a peer one-sidedly: its imports and its mirror go now, the peer need not be alive. It stays out until it leaves the federation and joins anew. */
  removePeer(cluster: string): Promise<void>;
  /** Resolves when what was told so far is written to the store. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** Loads the mirrors of earlier lives, starts publishing and watching; never waits for a peer. **Throws** as `store.list`. */
export async function openFederation(options: FederationOptions): Promise<Federation> {
  const federation = new MirroredFederation(options);
  await federation.start();
  return federation;
}

const DEFAULT_MASS_REMOVAL_GRACE_MS = 60_000;
const DEFAULT_SETTLE_MS = 10_000;
/** With many peers their first connections are spread out, so that a restarted hub is not its own storm. */
const START_SPREAD_PER_PEER_MS = 20;
const REMOVED_PREFIX = 'removed-peers/';

class MirroredFederation implements Federation {
  readonly #options: FederationOptions;
  readonly #records: MirrorRecords;
  readonly #publisher: Publisher;
  readonly #imports = new ImportTable();
  readonly #mirrors = new Map<string, Mirror>();
  readonly #removed = new Set<string>();
  readonly #importListeners = new Set<(changed: readonly ServiceName[]) => void>();
  readonly #peerListeners = new Set<() => void>();
  #unsubscribe: readonly (() => void)[] = [];
  #syncing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: FederationOptions) {
    this.#options = options;
    this.#records = new MirrorRecords(options);
    this.#publisher = new Publisher({
      ...options,
      exports: () => options.exports(),
      exportOf: (name) => options.exportOf(name),
      bans: () => options.bans?.() ?? [],
      heartbeatIntervalMs: options.times?.heartbeatIntervalMs ?? DEFAULT_PEER_TIMES.heartbeatIntervalMs,
      settleMs: options.settleMs ?? DEFAULT_SETTLE_MS,
    });
  }

  async start(): Promise<void> {
    await this.#loadMirrors();
    await this.#publisher.load();
    this.#unsubscribe = [
      this.#options.onMembers(() => this.#queueSync()),
      this.#options.bundles.onChange(() => {
        for (const mirror of this.#mirrors.values()) mirror.retrySetAside();
      }),
    ];
    this.#publisher.start();
    this.#queueSync();
  }

  publish(changed: readonly ServiceName[]): void {
    this.#publisher.publish(changed);
  }

  publishBans(): void {
    this.#publisher.publishBans();
  }

  imports(): readonly ImportedService[] {
    return this.#imports.all();
  }

  importsOf(name: ServiceName): readonly ImportedService[] {
    return this.#imports.of(name);
  }

  onImports(fn: (changed: readonly ServiceName[]) => void): () => void {
    this.#importListeners.add(fn);
    return () => this.#importListeners.delete(fn);
  }

  onPeers(fn: () => void): () => void {
    this.#peerListeners.add(fn);
    return () => this.#peerListeners.delete(fn);
  }

  peers(): readonly PeerStatus[] {
    return [...this.#mirrors.values()].map((m) => m.status()).sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  }

  async removePeer(cluster: string): Promise<void> {
    this.#removed.add(cluster);
    this.#publisher.withdrawFrom(cluster);
    await this.#options.store.put(`${REMOVED_PREFIX}${cluster}`, '');
    this.#queueSync();
    await this.#syncing;
  }

  async settled(): Promise<void> {
    await this.#syncing;
    await this.#publisher.settled();
    await this.#records.settled();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#importListeners.clear();
    this.#peerListeners.clear();
    await this.#syncing;
    await Promise.all([this.#publisher.close(), ...[...this.#mirrors.values()].map((m) => m.stop())]);
    await this.#records.close();
  }

  /** Imports of an earlier life are in service, as stale, before any peer is called. */
  async #loadMirrors(): Promise<void> {
    const { store, log } = this.#options;
    for (const { key } of (await store.list(REMOVED_PREFIX)).entries) {
      this.#removed.add(key.slice(REMOVED_PREFIX.length));
      this.#publisher.withdrawFrom(key.slice(REMOVED_PREFIX.length));
    }
    const { entries } = await store.list(keys.peers());
    const payloads = Map.groupBy(entries, (e) => e.key.split('/')[1] ?? '');
    const members = new Map(this.#options.members().map((m) => [m.cluster, m]));
    for (const [cluster, records] of payloads) {
      const sharedKeyOf = (key: string): string => `shared/${key.split('/').slice(2).join('/')}`;
      const own = records.find((r) => sharedKeyOf(r.key) === keys.sharedCluster());
      const member = members.get(cluster) ?? memberFromRecord(cluster, own?.value);
      if (member === undefined || cluster === this.#options.cluster) {
        log.warn('mirror of an unknown cluster left alone', { peer: cluster });
        continue;
      }
      const mirror = this.#openMirror(member, 0);
      for (const record of records) mirror.load(sharedKeyOf(record.key), record.value);
      for (const name of mirror.services()) this.#imports.set(name, cluster, mirror.importOf(name));
      this.#bansChanged(mirror);
    }
  }

  #queueSync(): void {
    this.#syncing = this.#syncing.then(() => this.#sync());
  }

  /** Brings the mirrors to the members of the federation. No members at all is not knowing them, and removes nothing. */
  async #sync(): Promise<void> {
    if (this.#isClosed) return;
    const members = this.#options.members();
    const isKnown = members.length > 0;
    const names = new Set(members.map((m) => m.cluster));
    for (const cluster of isKnown ? [...this.#removed].filter((c) => !names.has(c)) : []) {
      this.#removed.delete(cluster);
      this.#publisher.restore(cluster);
      this.#records.set(`${REMOVED_PREFIX}${cluster}`, undefined);
    }
    const wanted = new Map<string, Member>();
    for (const member of members) {
      if (member.cluster === this.#options.cluster || this.#removed.has(member.cluster)) continue;
      if (wanted.has(member.cluster)) this.#options.log.error('two members have one cluster name, the second is ignored', { peer: member.cluster });
      else wanted.set(member.cluster, member);
    }
    for (const [cluster, mirror] of [...this.#mirrors]) {
      const member = wanted.get(cluster);
      const isAnother = member !== undefined && member.trustDomain !== mirror.member.trustDomain;
      if ((isKnown && member === undefined) || isAnother || this.#removed.has(cluster)) await this.#drop(cluster, mirror);
    }
    const spreadMs = wanted.size > 10 ? wanted.size * START_SPREAD_PER_PEER_MS : 0;
    for (const [cluster, member] of wanted) {
      const mirror = this.#mirrors.get(cluster);
      if (mirror === undefined) this.#openMirror(member, this.#options.random() * spreadMs);
      else mirror.update(member);
    }
    if (this.#isClosed) return;
    for (const mirror of this.#mirrors.values()) mirror.start();
    this.#tellPeers();
  }

  #openMirror(member: Member, startDelayMs: number): Mirror {
    const options = this.#options;
    const mirror = new Mirror({
      member,
      cluster: options.cluster,
      openPeer: options.openPeer ?? ((m) => openChannelLink(options, m)),
      bundles: options.bundles,
      records: this.#records,
      clock: options.clock,
      random: options.random,
      log: options.log,
      metrics: options.metrics,
      times: { ...DEFAULT_PEER_TIMES, ...options.times },
      quota: { ...DEFAULT_PEER_QUOTA, ...options.quota },
      massRemovalGraceMs: options.massRemovalGraceMs ?? DEFAULT_MASS_REMOVAL_GRACE_MS,
      startDelayMs,
      onChanged: (services) => this.#importsChanged(mirror, services),
      onState: () => this.#tellPeers(),
      onBans: () => this.#bansChanged(mirror),
    });
    this.#mirrors.set(member.cluster, mirror);
    return mirror;
  }

  async #drop(cluster: string, mirror: Mirror): Promise<void> {
    this.#mirrors.delete(cluster);
    await mirror.withdraw();
    this.#options.log.info('peer removed', { peer: cluster });
  }

  #importsChanged(mirror: Mirror, services: readonly ServiceName[]): void {
    const { cluster } = mirror.member;
    const changed = services.filter((name) => this.#imports.set(name, cluster, mirror.importOf(name)));
    if (changed.length > 0) for (const listener of this.#importListeners) listener(changed);
  }

  #bansChanged(mirror: Mirror): void {
    this.#options.onPeerBans?.(mirror.member.trustDomain, mirror.bans());
  }

  #tellPeers(): void {
    for (const listener of this.#peerListeners) listener();
  }
}

/** The way to a peer over a channel of its own. */
function openChannelLink(options: FederationOptions, member: Member): PeerLink {
  const channel = options.dialPeer(member);
  const { log, metrics, clock, random } = options;
  const store = openPeerStore(channel, { log, metrics, clock, random });
  return {
    store,
    close: async () => {
      await store.close();
      channel.close();
    },
  };
}

/** A member as its own last record tells of it, for the time before the trust root was heard. */
function memberFromRecord(cluster: string, value: Uint8Array | undefined): Member | undefined {
  if (value === undefined) return undefined;
  try {
    const parsed = parseClusterRecord(JSON.parse(Buffer.from(value).toString('utf8')));
    if (!parsed.ok || parsed.value.cluster !== cluster) return undefined;
    const { trustDomain, locality, gateways } = parsed.value;
    return { cluster, trustDomain, locality, gateways };
  } catch {
    return undefined;
  }
}
