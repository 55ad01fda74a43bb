// What one peer said: verified, held in memory and mirrored in the own store; it stays until the peer says otherwise.
import { type Ban, type ClusterRecord, type Digest, formatServiceName, type ImportedService, MAX_BANS, type Member, type ServiceName } from '@isthmus/model';
import type { BundleSource } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import { readableKeys } from './digest.ts';
import { PeerFollower, type PeerLink } from './follow-peer.ts';
import type { MirrorRecords } from './mirror-records.ts';
import { PeerHealth, type PeerTimes } from './peer-state.ts';
import { parseRecord, type PeerRecord, readRecord, type RecordOrigin } from './record.ts';
import { RemovalGuard } from './removal-guard.ts';
import { SetAside } from './set-aside.ts';

/** A peer as this cluster sees it, from its own evidence alone. */
export type PeerStatus = {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly state: ImportedService['state'];
  /** Since its last heartbeat; undefined when it was never heard in this life of the process. */
  readonly ageMs?: number;
  /** Unix time at which it ceased to be fresh. */
  readonly staleSinceMs?: number;
  /** Whether all that it shares with this cluster is being followed now. */
  readonly connected: boolean;
  /** Services it offers us. */
  readonly exports: number;
  /** Records set aside now, with the last reason. */
  readonly refused: number;
  readonly lastRefusal?: string;
  readonly lastError?: string;
};

/** How much one peer may send; what is over it is set aside, and other peers do not notice (reliability row 22). */
export type PeerQuota = { readonly maxRecords: number; readonly maxBytes: number };
export const DEFAULT_PEER_QUOTA: PeerQuota = { maxRecords: 10_000, maxBytes: 16 * 1_048_576 };

export type MirrorOptions = {
  readonly member: Member;
  /** The own cluster: the consumer that peers' exports name. */
  readonly cluster: string;
  readonly openPeer: (member: Member) => PeerLink;
  readonly bundles: BundleSource;
  readonly records: MirrorRecords;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly times: PeerTimes;
  readonly quota: PeerQuota;
  readonly massRemovalGraceMs: number;
  readonly startDelayMs: number;
  /** What it offers of these services changed; ask `importOf`. */
  readonly onChanged: (services: readonly ServiceName[]) => void;
  readonly onState: () => void;
  /** What it bans of its own trust domain changed; ask `bans`. */
  readonly onBans: () => void;
};

type HeldDigest = { readonly digest: Digest; readonly bytes: Uint8Array | undefined; readonly size: number };
type HeldBan = { readonly ban: Ban; readonly bytes: Uint8Array | undefined };

/** A heartbeat's record is written to the mirror when it says something new, else only so often. */
const CLUSTER_RECORD_EVERY_MS = 60_000;

/**
 * Takes what one peer shares with this cluster. A record that is not that peer's own, does not parse, or goes back in
 * sequence is set aside and reported; the last good one stays in force. Losing the connection removes nothing. `stop`
 * keeps everything; `withdraw` takes it back.
 */
export class Mirror {
  readonly #options: MirrorOptions;
  readonly #origin: RecordOrigin;
  readonly #log: Log;
  readonly #health: PeerHealth;
  readonly #guard: RemovalGuard;
  readonly #held = new Map<string, HeldDigest>();
  readonly #bans = new Map<string, HeldBan>();
  readonly #aside: SetAside;
  readonly #follower: PeerFollower;
  #member: Member;
  #clusterRecord: ClusterRecord | undefined;
  #clusterBytes: Uint8Array | undefined;
  #clusterRecordSavedAtMs = 0;
  #bytes = 0;
  #wasFenced = false;

  constructor(options: MirrorOptions) {
    const { member, cluster, openPeer, clock, random, metrics, times, startDelayMs } = options;
    this.#options = options;
    this.#member = member;
    this.#origin = { cluster: member.cluster, trustDomain: member.trustDomain, consumer: cluster };
    this.#log = options.log.with({ peer: member.cluster });
    const refusals = metrics.counter('isthmus_federation_refused_records_total', 'Records of peers set aside', ['source_cluster', 'reason']);
    this.#aside = new SetAside({ cluster: member.cluster, refusals, log: this.#log });
    const massRemovals = metrics.counter('isthmus_federation_mass_removals_total', 'Times most of a peer’s records vanished at once and were kept for a grace period', ['source_cluster']);
    this.#health = new PeerHealth({ clock, times, onChange: () => this.#stateChanged() });
    this.#guard = new RemovalGuard({
      clock,
      graceMs: options.massRemovalGraceMs,
      heldCount: () => this.#held.size,
      commit: (gone) => this.#forget(gone),
      onMass: (count) => {
        massRemovals.inc({ source_cluster: member.cluster });
        this.#log.warn('most records of a peer vanished at once, keeping them for a while', { count, graceMs: options.massRemovalGraceMs });
      },
    });
    this.#follower = new PeerFollower({
      member: () => this.#member,
      cluster,
      openPeer,
      heartbeatIntervalMs: times.heartbeatIntervalMs,
      startDelayMs,
      onRecord: (key, bytes) => this.#take(key, bytes),
      onComplete: (range, present) => this.#sweep(range, present),
      onGone: (key) => this.#gone(key),
      clock,
      random,
      log: this.#log,
    });
  }

  get member(): Member {
    return this.#member;
  }

  /** Takes a record of an earlier life from the own store, without telling anybody. */
  load(sharedKey: string, payload: Uint8Array): void {
    const read = parseRecord(sharedKey, payload, this.#origin);
    if (!read.ok) return this.#log.warn('mirrored record does not parse, skipped', { key: sharedKey, reason: read.detail });
    if (read.record.kind === 'cluster') this.#clusterRecord = read.record.value;
    else if (read.record.kind === 'ban') this.#bans.set(sharedKey, { ban: read.record.value, bytes: undefined });
    else this.#hold(sharedKey, { digest: read.record.value, bytes: undefined, size: payload.length });
  }

  start(): void {
    this.#follower.start();
  }

  /** New words of the trust root about the same cluster; a new address is dialled at once, what it said stays. */
  update(member: Member): void {
    const isSame = JSON.stringify(member) === JSON.stringify(this.#member);
    this.#member = member;
    if (isSame) return;
    this.#follower.redial();
    this.#options.onChanged(this.services());
  }

  /** Bundles changed: what was set aside for want of one is looked at again. */
  retrySetAside(): void {
    const isFenced = this.#state() === 'fenced';
    if (isFenced !== this.#wasFenced) {
      this.#wasFenced = isFenced;
      this.#stateChanged();
    }
    for (const { key, bytes } of this.#aside.takeRetriable()) this.#take(key, bytes);
  }

  services(): readonly ServiceName[] {
    const names = new Map([...this.#held.values()].map(({ digest }) => [formatServiceName(digest), { namespace: digest.namespace, name: digest.name }]));
    return [...names.values()];
  }

  /** What it offers of a service; of two records for it the newer counts. */
  importOf(name: ServiceName): ImportedService | undefined {
    const offers = readableKeys(this.#options.cluster, name).flatMap((key) => this.#held.get(key)?.digest ?? []);
    const [first, second] = offers;
    const digest = first !== undefined && second !== undefined && second.sequence > first.sequence ? second : first;
    if (digest === undefined) return undefined;
    const told = this.#clusterRecord;
    const { staleSinceMs } = this.#health;
    return {
      namespace: digest.namespace,
      name: digest.name,
      cluster: this.#origin.cluster,
      trustDomain: this.#origin.trustDomain,
      ports: digest.ports,
      readyCount: digest.readyCount,
      totalCount: digest.totalCount,
      readyWeight: digest.readyWeight,
      ...(digest.gatewayLayer === undefined ? {} : { gatewayLayer: digest.gatewayLayer }),
      ...(digest.exportedAtMs === undefined ? {} : { exportedAtMs: digest.exportedAtMs }),
      state: this.#state(),
      ...(staleSinceMs === undefined ? {} : { staleSinceMs }),
      gateways: told !== undefined && told.gateways.length > 0 ? told.gateways : this.#member.gateways,
      locality: told?.locality ?? this.#member.locality,
    };
  }

  /** Its bans, lifted ones among them. A ban goes when it has run out or is lifted in so many words, never by being absent. */
  bans(): readonly Ban[] {
    return [...this.#bans.values()].map(({ ban }) => ban);
  }

  status(): PeerStatus {
    const ageMs = this.#health.ageMs();
    const { staleSinceMs } = this.#health;
    const { isFollowingAll, lastError } = this.#follower;
    return {
      cluster: this.#origin.cluster,
      trustDomain: this.#origin.trustDomain,
      state: this.#state(),
      ...(ageMs === undefined ? {} : { ageMs }),
      ...(staleSinceMs === undefined ? {} : { staleSinceMs }),
      connected: isFollowingAll,
      exports: this.services().length,
      refused: this.#aside.size,
      ...(this.#aside.lastReason === undefined ? {} : { lastRefusal: this.#aside.lastReason }),
      ...(lastError === undefined ? {} : { lastError }),
    };
  }

  /** Fenced where the trust root emptied its bundle, whatever its heartbeats say; else as alive as it is heard. */
  #state(): ImportedService['state'] {
    return this.#options.bundles.get(this.#origin.trustDomain)?.x509Authorities.length === 0 ? 'fenced' : this.#health.state;
  }

  /** Ends the life, keeps the mirror in the store for the next one. */
  async stop(): Promise<void> {
    const ended = this.#follower.stop();
    this.#health.close();
    this.#guard.close();
    await ended;
  }

  /** Takes back everything it ever said, in memory and in the store; it need not be alive for that. */
  async withdraw(): Promise<void> {
    await this.stop();
    this.#options.records.set(keys.peer(this.#origin.cluster, keys.sharedCluster()), undefined);
    for (const key of this.#bans.keys()) this.#options.records.set(keys.peer(this.#origin.cluster, key), undefined);
    this.#bans.clear();
    this.#options.onBans();
    this.#forget([...this.#held.keys()]);
  }

  /** Mark and sweep, but only against a complete list: what it lacks is gone (reliability row 19). */
  #sweep(range: string, present: ReadonlySet<string>): void {
    for (const key of [...this.#held.keys(), ...this.#aside.keys()]) if (key.startsWith(range) && !present.has(key)) this.#gone(key);
  }

  #take(key: string, bytes: Uint8Array): void {
    const held = this.#held.get(key);
    this.#guard.keep(key);
    if (key === keys.sharedCluster() && this.#clusterBytes !== undefined && Buffer.compare(this.#clusterBytes, bytes) === 0) return;
    const sameBytes = held?.bytes ?? this.#bans.get(key)?.bytes;
    if (sameBytes !== undefined && Buffer.compare(sameBytes, bytes) === 0) {
      this.#aside.delete(key);
      return;
    }
    const over = this.#overQuota(key, bytes, held);
    if (over !== undefined) return this.#aside.add(key, 'quota', over, undefined);
    const read = readRecord(key, bytes, this.#origin, this.#options.bundles, this.#options.clock.nowMs());
    if (!read.ok) return this.#aside.add(key, read.reason, read.detail, read.mayHeal ? bytes : undefined);
    const last = read.record.kind === 'cluster' ? this.#clusterRecord : read.record.kind === 'ban' ? this.#bans.get(key)?.ban : held?.digest;
    const { sequence } = read.record.value;
    if (last !== undefined && (sequence < last.sequence || (sequence === last.sequence && JSON.stringify(last) !== JSON.stringify(read.record.value)))) {
      return this.#aside.add(key, 'old-sequence', `sequence ${sequence} after ${last.sequence}`, undefined);
    }
    this.#aside.delete(key);
    this.#accept(key, read.record, bytes, last?.sequence);
  }

  #accept(key: string, record: PeerRecord, bytes: Uint8Array, lastSequence: number | undefined): void {
    if (record.kind === 'cluster') return this.#acceptCluster(key, record.value, bytes, lastSequence);
    if (record.kind === 'ban') return this.#acceptBan(key, record.value, bytes, lastSequence);
    const { value: digest } = record;
    const payload = JSON.stringify(digest);
    this.#hold(key, { digest, bytes, size: bytes.length });
    // The same record read again after a restart needs no new write.
    if (digest.sequence !== lastSequence) {
      this.#options.records.set(keys.peer(this.#origin.cluster, key), payload);
    }
    this.#options.onChanged([{ namespace: digest.namespace, name: digest.name }]);
  }

  /** Only a heartbeat that goes on is a sign of life; a replayed one is not. */
  #acceptCluster(key: string, record: ClusterRecord, bytes: Uint8Array, lastSequence: number | undefined): void {
    this.#clusterBytes = bytes;
    if (record.sequence === lastSequence) return;
    const before = this.#clusterRecord;
    this.#clusterRecord = record;
    const isNews = before === undefined || JSON.stringify({ ...before, sequence: 0 }) !== JSON.stringify({ ...record, sequence: 0 });
    const nowMs = this.#options.clock.monotonicMs();
    if (isNews || nowMs - this.#clusterRecordSavedAtMs >= CLUSTER_RECORD_EVERY_MS) {
      this.#clusterRecordSavedAtMs = nowMs;
      this.#options.records.set(keys.peer(this.#origin.cluster, key), JSON.stringify(record));
    }
    const wasFresh = this.#health.state === 'fresh';
    this.#health.heard();
    // Becoming fresh has told it already.
    if (isNews && wasFresh) this.#options.onChanged(this.services());
  }

  #acceptBan(key: string, ban: Ban, bytes: Uint8Array, lastSequence: number | undefined): void {
    const { records, clock } = this.#options;
    this.#bans.set(key, { ban, bytes });
    if (ban.sequence !== lastSequence) records.set(keys.peer(this.#origin.cluster, key), JSON.stringify(ban));
    for (const [known, { ban: old }] of this.#bans) {
      if (old.expiresAtMs > clock.nowMs() || known === key) continue;
      this.#bans.delete(known);
      records.set(keys.peer(this.#origin.cluster, known), undefined);
    }
    this.#options.onBans();
  }

  #hold(key: string, held: HeldDigest): void {
    this.#bytes += held.size - (this.#held.get(key)?.size ?? 0);
    this.#held.set(key, held);
  }

  #overQuota(key: string, bytes: Uint8Array, held: HeldDigest | undefined): string | undefined {
    const { maxRecords, maxBytes } = this.#options.quota;
    if (key === keys.sharedCluster()) return undefined;
    if (key.startsWith(keys.sharedBans())) return this.#bans.size >= MAX_BANS && !this.#bans.has(key) ? `more than ${MAX_BANS} bans` : undefined;
    if (held === undefined && this.#held.size >= maxRecords) return `more than ${maxRecords} records`;
    return this.#bytes - (held?.size ?? 0) + bytes.length > maxBytes ? `more than ${maxBytes} bytes` : undefined;
  }

  #gone(key: string): void {
    this.#aside.delete(key);
    if (this.#held.has(key)) this.#guard.remove(key);
    // A peer's word about itself ends with its heartbeats, not with a delete.
  }

  #forget(gone: readonly string[]): void {
    const services: ServiceName[] = [];
    for (const key of gone) {
      const held = this.#held.get(key);
      if (held === undefined) continue;
      this.#held.delete(key);
      this.#bytes -= held.size;
      this.#options.records.set(keys.peer(this.#origin.cluster, key), undefined);
      services.push({ namespace: held.digest.namespace, name: held.digest.name });
    }
    if (services.length > 0) this.#options.onChanged(services);
  }

  #stateChanged(): void {
    const state = this.#state();
    this.#log.info('peer changed state', { state, services: this.#held.size });
    this.#options.onChanged(this.services());
    this.#options.onState();
  }
}
