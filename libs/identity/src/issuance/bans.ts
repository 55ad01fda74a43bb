// The bans of this cluster: kept in its store, in force here within a moment of being written, and told to whoever spreads them.
import { createHash } from 'node:crypto';
import { type Ban, type BannedSvids, formatServiceName, isDnsLabel, MAX_BANS, messageOf, parseBan, quote, type ServiceName, type SpiffeId, spiffeIds } from '@isthmus/model';
import { holderTag } from '@isthmus/pki';
import type { Clock, TimerHandle } from '@isthmus/runtime';
import { keys, type Store, type StoreCompare, type StoreWrite } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Authority } from '../authority/authority.ts';
import { fail } from '../errors.ts';
import { openSerial } from '../serial.ts';
import type { EntryStore } from './entries.ts';
import type { TokenStore } from './join-tokens.ts';
import { recorded } from './recorded.ts';

/** Who is banned: an agent with all SVIDs that it holds, one gateway of several, or one service with the SVIDs of all its workloads. */
export type BanSubject = { readonly kind: 'agent' | 'gateway'; readonly agent: string } | { readonly kind: 'service'; readonly service: ServiceName };

export type BansOptions = {
  readonly authority: Authority;
  readonly store: Store;
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** What else must hold for a ban to be made or lifted, and what is written with it in the same transaction. */
export type BanFence = { readonly compare: readonly StoreCompare[]; readonly then: readonly StoreWrite[] };

export interface Bans {
  /** Every ban that is known, lifted ones among them until they would have run out. */
  all(): readonly Ban[];
  onChange(fn: () => void): () => void;
  /**
   * Bans what was issued up to now; an agent's or gateway's entry and unspent tokens go as well, so that it comes back only by a new token.
   * **Throws** IDENTITY_BAN_INVALID, IDENTITY_TOO_MANY_BANS, IDENTITY_LOG_UNWRITABLE, STORE_*; IDENTITY_BAN_FENCED when the fence does not hold.
   */
  ban(subject: BanSubject, reason: string, fence?: BanFence): Promise<Ban>;
  /** Takes a ban back; false where there is none. An agent's entry does not come back with it. **Throws** as `ban`. */
  lift(subject: BanSubject, fence?: BanFence): Promise<boolean>;
  /** Whether nothing may be issued for this ID: a service that is banned. */
  refuses(spiffeId: SpiffeId): boolean;
  close(): Promise<void>;
}

/** What a banned agent loses. */
type RightStores = { readonly tokens: Pick<TokenStore, 'list' | 'remove'>; readonly entries: Pick<EntryStore, 'remove'> };

/** Bans kept under `bans/`; resolves when those of the store are in force. **Throws** STORE_*. */
export async function openBans(options: BansOptions, stores: RightStores): Promise<Bans> {
  const bans = new StoredBans(options, stores);
  await bans.start();
  return bans;
}

/** A timer for longer than this fires at once (Node); looking again so often costs nothing. */
const MAX_WAIT_MS = 3_600_000;
const MAX_REASON = 200;

class StoredBans implements Bans {
  readonly #options: BansOptions;
  readonly #stores: RightStores;
  readonly #bans = new Map<string, Ban>();
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #active;
  /** Two changes of bans at once would each see the state before the other. */
  readonly #serial = openSerial();
  #expiry: TimerHandle | undefined;
  #watching: Promise<void> | undefined;

  constructor(options: BansOptions, stores: RightStores) {
    this.#options = options;
    this.#stores = stores;
    this.#active = options.metrics.gauge('isthmus_identity_bans', 'Bans of this cluster that are in force');
  }

  async start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#watching = this.#watch(first.resolve).catch((error: unknown) => {
      first.reject(error);
      if (!this.#stop.signal.aborted) this.#options.log.error('bans are followed no longer', { error: messageOf(error) });
    });
    await first.promise;
  }

  all(): readonly Ban[] {
    return [...this.#bans.values()];
  }

  onChange(fn: () => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  refuses(spiffeId: SpiffeId): boolean {
    const ban = this.#bans.get(idOf(spiffeId));
    return ban !== undefined && !ban.lifted && ban.spiffeId === spiffeId && ban.holder === undefined;
  }

  ban(subject: BanSubject, reason: string, fence?: BanFence): Promise<Ban> {
    return this.#serial(() => this.#ban(subject, reason, fence));
  }

  lift(subject: BanSubject, fence?: BanFence): Promise<boolean> {
    return this.#serial(() => this.#lift(subject, fence));
  }

  async #ban(subject: BanSubject, reason: string, fence: BanFence | undefined): Promise<Ban> {
    const { authority, cluster, clock, log } = this.#options;
    const spiffeId = this.#idOf(subject);
    if (reason.length > MAX_REASON) throw fail('IDENTITY_BAN_INVALID', `reason: at most ${MAX_REASON} characters, got ${reason.length}`);
    if (this.#bans.size >= MAX_BANS && !this.#bans.has(idOf(spiffeId))) throw fail('IDENTITY_TOO_MANY_BANS', `${MAX_BANS} bans are known already`, { hint: 'lift some, or wait until the oldest have run out' });
    await this.#checkFence(fence);
    const nowMs = clock.nowMs();
    const ban: Ban = {
      kind: 'ban',
      id: idOf(spiffeId),
      cluster,
      trustDomain: authority.trustDomain,
      spiffeId,
      ...(subject.kind !== 'service' && { holder: holderTag(spiffeId) }),
      // One more, so that what was issued in this very millisecond falls under it.
      issuedBeforeMs: nowMs + 1,
      // No SVID outlives the intermediate it was signed with, and none of those in use outlives the newest.
      expiresAtMs: Math.max(nowMs, authority.status().intermediateExpiresAtMs),
      bannedAtMs: nowMs,
      reason,
      lifted: false,
      sequence: 0,
    };
    const facts = { spiffeId, issuedBeforeMs: ban.issuedBeforeMs, expiresAtMs: ban.expiresAtMs, reason, by: subject.kind };
    await recorded(authority.ledger, [{ kind: 'banned', facts }], async () => {
      if (subject.kind !== 'service') await this.#takeRights(subject.kind, subject.agent);
      await this.#put(ban, fence);
    });
    this.#take(ban);
    log.warn('banned', facts);
    return ban;
  }

  async #lift(subject: BanSubject, fence: BanFence | undefined): Promise<boolean> {
    const { authority, log } = this.#options;
    const spiffeId = this.#idOf(subject);
    const ban = this.#bans.get(idOf(spiffeId));
    if (ban === undefined || ban.lifted) return false;
    await this.#checkFence(fence);
    const lifted = { ...ban, lifted: true };
    await recorded(authority.ledger, [{ kind: 'ban-lifted', facts: { spiffeId } }], () => this.#put(lifted, fence));
    this.#take(lifted);
    log.warn('ban lifted', { spiffeId });
    return true;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#expiry?.cancel();
    this.#listeners.clear();
    await this.#watching;
  }

  /** Before anything is done: the entry that a ban takes would not come back when the fence turns out not to hold. */
  async #checkFence(fence: BanFence | undefined): Promise<void> {
    if (fence !== undefined && fence.compare.length > 0 && !(await this.#options.store.txn({ compare: fence.compare, then: [] })).ok) throw fenced();
  }

  async #put(ban: Ban, fence: BanFence = { compare: [], then: [] }): Promise<void> {
    const { ok } = await this.#options.store.txn({ compare: fence.compare, then: [{ put: { key: keys.ban(ban.id), value: JSON.stringify(ban) } }, ...fence.then] });
    if (!ok) throw fenced();
  }

  #idOf(subject: BanSubject): SpiffeId {
    const { trustDomain } = this.#options.authority;
    if (subject.kind !== 'service') {
      if (!isDnsLabel(subject.agent)) throw fail('IDENTITY_BAN_INVALID', `${quote(subject.agent)} is no name of an agent or gateway`);
      return subject.kind === 'agent' ? spiffeIds.agent(trustDomain, subject.agent) : spiffeIds.gatewayHolder(trustDomain, subject.agent);
    }
    const { namespace, name } = subject.service;
    if (!isDnsLabel(namespace) || !isDnsLabel(name)) throw fail('IDENTITY_BAN_INVALID', `${quote(formatServiceName(subject.service))} is no service name`);
    return spiffeIds.service(trustDomain, subject.service);
  }

  /** The entry first: from then on nothing is issued to it, and what was falls under the ban. */
  async #takeRights(role: 'agent' | 'gateway', agent: string): Promise<void> {
    const { tokens, entries } = this.#stores;
    await entries.remove(role, agent);
    for (const token of await tokens.list()) if (token.role === role && token.agent === agent && token.usedAtMs === undefined) await tokens.remove(token.id);
  }

  async #watch(onFirst: () => void): Promise<void> {
    const { store, log } = this.#options;
    const taken = (value: Uint8Array, key: string): void => {
      const ban = readBan(value);
      if (ban === undefined) log.error('a ban in the store does not parse and is skipped', { key });
      else this.#bans.set(ban.id, ban);
    };
    for await (const event of store.watch(keys.bans(), { signal: this.#stop.signal })) {
      // A list that lacks one, and a delete, are its end: it is deleted only when it has run out.
      if (event.kind === 'snapshot') {
        this.#bans.clear();
        for (const { key, value } of event.entries) taken(value, key);
        onFirst();
      } else if (event.kind === 'put') taken(event.value, event.key);
      else if (event.kind === 'delete') this.#bans.delete(event.key.slice(keys.bans().length));
      else continue;
      this.#apply();
    }
  }

  #take(ban: Ban): void {
    this.#bans.set(ban.id, ban);
    this.#apply();
  }

  /** Puts into force what is in force now, and looks again when the next one runs out. */
  #apply(): void {
    const { authority, clock } = this.#options;
    const nowMs = clock.nowMs();
    const active = activeBans(this.all(), nowMs);
    this.#active.set(active.length);
    authority.bundles.ban(authority.trustDomain, active);
    for (const listener of this.#listeners) listener();
    this.#expiry?.cancel();
    for (const ban of this.#bans.values()) if (isOver(ban, nowMs)) this.#forget(ban);
    const next = Math.min(...[...this.#bans.values()].filter((ban) => !isKept(ban)).map((ban) => ban.expiresAtMs));
    if (Number.isFinite(next) && !this.#stop.signal.aborted) this.#expiry = clock.setTimer(Math.min(MAX_WAIT_MS, Math.max(1, next - nowMs)), () => this.#apply());
  }

  #forget(ban: Ban): void {
    this.#bans.delete(ban.id);
    this.#options.store.delete(keys.ban(ban.id)).catch((error: unknown) => this.#options.log.warn('a ban that has run out could not be deleted', { spiffeId: ban.spiffeId, error: messageOf(error) }));
  }
}

/** A service's ban goes on refusing to issue when the last banned SVID has run out: until it is lifted. */
function isKept(ban: Ban): boolean {
  return ban.holder === undefined && !ban.lifted;
}

function isOver(ban: Ban, nowMs: number): boolean {
  return !isKept(ban) && ban.expiresAtMs <= nowMs;
}

/** What of these a proxy has to refuse now. */
export function activeBans(bans: readonly Ban[], nowMs: number): readonly BannedSvids[] {
  return bans
    .filter((ban) => !ban.lifted && ban.expiresAtMs > nowMs)
    .map(({ spiffeId, holder, issuedBeforeMs, expiresAtMs }) => ({ spiffeId, ...(holder !== undefined && { holder }), issuedBeforeMs, expiresAtMs }));
}

function idOf(spiffeId: string): string {
  return createHash('sha256').update(spiffeId).digest('hex').slice(0, 16);
}

function fenced(): Error {
  return fail('IDENTITY_BAN_FENCED', 'no ban was changed: what the change depends on was written at the same moment', { hint: 'try again' });
}

function readBan(value: Uint8Array): Ban | undefined {
  try {
    const parsed = parseBan(JSON.parse(Buffer.from(value).toString('utf8')));
    return parsed.ok ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}
