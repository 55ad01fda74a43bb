// The root without gRPC: each method changes the state durably or not at all.
import { isDeepStrictEqual } from 'node:util';
import {
  clusterTrustDomain,
  formatProblems,
  type Member,
  parseClusterName,
  quote,
  spiffeIds,
  type TrustDomain,
} from '@isthmus/model';
import { type KeyKind, makeToken, openBundleSet, type SigningCa, type X509Svid } from '@isthmus/pki';
import type { trust } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import type { Counter, Gauge, Log, Metrics } from '@isthmus/telemetry';
import { publicKeyOf } from '../csr.ts';
import { fail } from '../errors.ts';
import type { KeyStore, StoredKey } from '../key-store.ts';
import { type FreshSvid, keepFresh } from '../renew.ts';
import { openSerial } from '../serial.ts';
import { checkUnspent, DEFAULT_TOKEN_TTL_SECONDS, MAX_TOKEN_TTL_SECONDS, presentedToken, sameHash, tokenRefused } from '../token.ts';
import type { TransparencyLog } from '../transparency-log/log.ts';
import { notInForce } from '../transparency-log/record.ts';
import { bundleToWire, memberFromWire, memberToWire } from '../wire.ts';
import { changesBetween } from './changes.ts';
import { isFenced, revokedAuthorities, withFence, withoutFence } from './fence.ts';
import type { OpenedRoot } from './root-key.ts';
import { readRootKey } from './root-key.ts';
import { authoritiesOf, openRotation, revokedRoots, rootMarks, sha256OfRoot, signingRoot } from './rotation-state.ts';
import { isSwitched } from './root-rotation.ts';
import { RememberedWrites, type WriteAnswer, type WriteTerms, withoutOldWrites } from './remembered-writes.ts';
import { openRootLog } from './root-log.ts';
import { RootSigner } from './root-signer.ts';
import { pruned, type TrustRootState, withJwtKeys, withMember, withoutMember } from './state.ts';

const MAX_MEMBERS = 1_024;

export type TrustRootOptions = {
  /** Directory of the root's key and state; made with mode 0700 where it is missing. */
  readonly stateDir: string;
  readonly federation: TrustDomain;
  /** Kind of the root's key, used on the first start only. Default `ec-p256`. */
  readonly keyKind?: KeyKind;
  /** Where the root's keys are. Default: plain files of mode 0600 in `stateDir`. */
  readonly keys?: KeyStore;
  /** Life of a cluster's intermediate. Default 24 h. */
  readonly intermediateTtlMs?: number;
  /** Life of the root itself, used on the first start only. Default 10 years. */
  readonly rootTtlMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: Metrics;
};

/** With the key store that is used where none was given: files in `stateDir`. */
export type RootOptions = TrustRootOptions & { readonly keys: KeyStore };

/** An intermediate as it is handed out. */
export type Issued = { readonly chain: Buffer[]; readonly view: trust.FederationView };

/** Members, tokens and what is signed for them. */
export class Root {
  readonly svids: FreshSvid;
  readonly bundles;
  durable = true;
  readonly signer: RootSigner;
  private readonly file: OpenedRoot['file'];
  private readonly options: RootOptions;
  private readonly serial = openSerial();
  private readonly listeners = new Set<() => void>();
  private readonly issued: Counter | undefined;
  private readonly ends: Gauge | undefined;
  private readonly writes = new RememberedWrites();
  private state: TrustRootState;

  readonly ledger: TransparencyLog;

  /** Opens the log beside the state. **Throws** IDENTITY_LOG_BROKEN, IDENTITY_LOG_UNWRITABLE. */
  static async open(opened: OpenedRoot, options: RootOptions): Promise<Root> {
    const { state } = opened;
    const { stateDir, clock, log, metrics } = options;
    const signer = new RootSigner(opened, options);
    // Asked to sign before anything else: a token that is away or closed stops the start here, not the first renewal.
    const svid = await signer.ownSvid(linkOf(state));
    const ledger = await openRootLog({ stateDir, state, sign: (bytes) => signer.checkpoint(bytes), clock, log, metrics });
    // From its first start on the state knows its log, so that the two cannot be parted unseen.
    if (state.log === undefined) await opened.file.write({ ...state, log: ledger.head() });
    return new Root(opened, { ledger, signer, svid }, options);
  }

  private constructor(opened: OpenedRoot, parts: { readonly ledger: TransparencyLog; readonly signer: RootSigner; readonly svid: X509Svid }, options: RootOptions) {
    this.ledger = parts.ledger;
    this.signer = parts.signer;
    this.file = opened.file;
    this.state = opened.state;
    this.options = options;
    this.bundles = openBundleSet([...opened.state.bundles]);
    this.banRevoked();
    this.ends = options.metrics?.gauge('isthmus_identity_cluster_expires_seconds', 'Unix time at which a member’s newest intermediate runs out', ['cluster']);
    this.reportEnds();
    const { clock, random, log } = options;
    this.issued = options.metrics?.counter('isthmus_identity_intermediates_total', 'Intermediates signed for clusters, by what for', ['why']);
    this.svids = keepFresh({ request: () => this.signer.ownSvid(linkOf(this.state)), initial: parts.svid, clock, random, log });
  }

  /** SHA-256 of the certificate of the root that signs, in hex. */
  get rootSha256(): string {
    return sha256OfRoot(this.state.root);
  }

  /**
   * A new token for one cluster.
   * **Throws** IDENTITY_TOKEN_INVALID for a bad name or life, IDENTITY_CLUSTER_EXISTS unless `replace`, STATE_*.
   */
  createToken(request: { readonly cluster: string; readonly ttlSeconds: number; readonly replace: boolean }): Promise<{ id: string; token: string; expiresAtMs: number }> {
    const name = parseClusterName(request.cluster, 'cluster');
    if (!name.ok) throw fail('IDENTITY_TOKEN_INVALID', formatProblems(name.problems));
    const ttlSeconds = request.ttlSeconds === 0 ? DEFAULT_TOKEN_TTL_SECONDS : request.ttlSeconds;
    if (ttlSeconds < 1 || ttlSeconds > MAX_TOKEN_TTL_SECONDS) {
      throw fail('IDENTITY_TOKEN_INVALID', `ttlSeconds: must be 1 to ${MAX_TOKEN_TTL_SECONDS}, got ${ttlSeconds}`);
    }
    return this.serial(async () => {
      if (!request.replace) this.refuseDuplicate(name.value);
      const { federation, clock, log } = this.options;
      const made = makeToken({ prefix: 'ict', pinSha256: this.rootSha256, fields: { cluster: name.value, federation } });
      const expiresAtMs = clock.nowMs() + ttlSeconds * 1_000;
      const kept = { id: made.id, secretSha256: made.secretSha256, cluster: name.value, replace: request.replace, expiresAtMs };
      this.writes.tell({ id: made.id, expiresAtMs });
      await this.commit({ ...this.state, tokens: [...this.state.tokens, kept] });
      log.info('cluster token created', { cluster: name.value, tokenId: made.id, replace: request.replace, expiresAtMs });
      return { id: made.id, token: made.token, expiresAtMs };
    });
  }

  /** Spends a token and signs the cluster's first intermediate. **Throws** IDENTITY_TOKEN_REFUSED, IDENTITY_CSR_REFUSED, IDENTITY_CLUSTER_EXISTS, STATE_*. */
  join(token: string, csr: Uint8Array, wireSelf: trust.Member | undefined): Promise<Issued> {
    return this.serial(async () => {
      const { clock, log } = this.options;
      const nowMs = clock.nowMs();
      const kept = this.tokenFor(token, nowMs);
      const self = this.selfOf(kept.cluster, wireSelf, tokenRefused);
      this.refuseFenced(self.trustDomain);
      const publicKey = publicKeyOf(csr, spiffeIds.authority(self.trustDomain as TrustDomain));
      if (!kept.replace) this.refuseDuplicate(kept.cluster);
      const signed = await this.signer.intermediate(self, publicKey, 'join', linkOf(this.state));
      const tokens = this.state.tokens.map((t) => (t === kept ? { ...t, usedAtMs: nowMs } : t));
      const joined = withMember({ ...this.state, tokens }, self);
      await this.commit({ ...joined, journal: [...joined.journal, signed.entry] });
      this.issued?.inc({ why: 'join' });
      log.info('cluster joined', { cluster: kept.cluster, tokenId: kept.id, serial: signed.entry.serial, expiresAtMs: signed.entry.expiresAtMs });
      return { chain: signed.chain, view: this.view() };
    });
  }

  /** Signs a member's next intermediate. **Throws** IDENTITY_DENIED for who is no member, IDENTITY_CSR_REFUSED, STATE_*. */
  renew(trustDomain: string, csr: Uint8Array, wireSelf: trust.Member | undefined): Promise<Issued> {
    return this.serial(async () => {
      const member = this.memberOf(trustDomain);
      if (member === undefined) throw fail('IDENTITY_DENIED', `${trustDomain} is no member of ${this.options.federation}`);
      this.refuseFenced(trustDomain);
      const self = wireSelf === undefined ? member : this.selfOf(member.cluster, wireSelf, (why) => fail('IDENTITY_DENIED', `the renewal is refused: ${why}`));
      const publicKey = publicKeyOf(csr, spiffeIds.authority(trustDomain as TrustDomain));
      const signed = await this.signer.intermediate(self, publicKey, 'renew', linkOf(this.state));
      const next = withMember(this.state, self);
      await this.commit({ ...next, journal: [...next.journal, signed.entry] });
      this.issued?.inc({ why: 'renew' });
      this.options.log.info('intermediate renewed', { cluster: member.cluster, serial: signed.entry.serial, expiresAtMs: signed.entry.expiresAtMs });
      return { chain: signed.chain, view: this.view() };
    });
  }

  /**
   * Puts the keys of a member's JWT-SVIDs into its bundle, in the place of those before; the same ones change nothing.
   * **Throws** IDENTITY_DENIED for who is no member, IDENTITY_JWT_INVALID for a weak or doubled key or too many, STATE_*.
   */
  publishJwtKeys(trustDomain: string, keys: readonly trust.JwtAuthority[]): Promise<trust.FederationView> {
    return this.serial(async () => {
      const next = withJwtKeys(this.state, trustDomain, keys);
      if (next !== this.state) {
        await this.commit(next);
        this.options.log.info('keys of JWT-SVIDs published', { trustDomain, keyIds: keys.map((k) => k.keyId).join(' ') });
      }
      return this.view();
    });
  }

  /** Takes a member out: nothing is renewed for it, and it leaves the view. **Throws** IDENTITY_CLUSTER_NOT_FOUND, STATE_*. */
  remove(cluster: string): Promise<void> {
    return this.serial(async () => {
      const member = this.state.members.find((m) => m.cluster === cluster);
      if (member === undefined) throw fail('IDENTITY_CLUSTER_NOT_FOUND', `no cluster ${quote(cluster)} is a member of ${this.options.federation}`);
      await this.commit(withoutMember(this.state, cluster, member.trustDomain));
      this.options.log.info('cluster removed', { cluster });
    });
  }

  /**
   * Revokes all that a cluster ever signed, for everybody and at once. **Throws** IDENTITY_CLUSTER_NOT_FOUND, STATE_*.
   */
  fence(cluster: string, reason: string): Promise<void> {
    return this.serial(async () => {
      const member = this.state.members.find((m) => m.cluster === cluster);
      if (member === undefined) throw fail('IDENTITY_CLUSTER_NOT_FOUND', `no cluster ${quote(cluster)} is a member of ${this.options.federation}`);
      if (isFenced(this.state, member.trustDomain)) return;
      await this.commit(withFence(this.state, member, reason.slice(0, 200), this.options.clock.nowMs()));
      this.options.log.warn('cluster fenced', { cluster, reason: reason.slice(0, 200) });
    });
  }

  /** Lets a fenced cluster in again, with a new intermediate only. **Throws** IDENTITY_CLUSTER_NOT_FOUND where it is not fenced, STATE_*. */
  unfence(cluster: string): Promise<void> {
    return this.serial(async () => {
      const next = withoutFence(this.state, cluster, this.options.clock.nowMs() + 1);
      if (next === this.state) throw fail('IDENTITY_CLUSTER_NOT_FOUND', `no cluster ${quote(cluster)} is fenced`);
      await this.commit(next);
      this.options.log.warn('cluster unfenced: it joins anew with a token made with --replace', { cluster });
    });
  }

  private refuseFenced(trustDomain: string): void {
    if (isFenced(this.state, trustDomain)) throw fail('IDENTITY_DENIED', `${trustDomain} is fenced`, { hint: '`isthmus cluster unfence` lets it in again, with a new token' });
  }

  memberOf(trustDomain: string): Member | undefined {
    return this.state.members.find((m) => m.trustDomain === trustDomain);
  }

  view(): trust.FederationView {
    const { federation, members, bundles } = this.state;
    const roots = rootMarks(this.state).map(({ sha256, state }) => ({ sha256: Buffer.from(sha256, 'hex'), state }));
    const revoked = revokedAuthorities(this.state, this.options.clock.nowMs());
    const revokedAuthoritiesWire = revoked.map((r) => ({ trustDomain: r.trustDomain, issuedBeforeMs: BigInt(r.issuedBeforeMs), expiresAtMs: BigInt(r.expiresAtMs) }));
    return { federation, members: members.map(memberToWire), bundles: bundles.map(bundleToWire), roots, revokedAuthorities: revokedAuthoritiesWire };
  }

  onView(fn: () => void): () => void {
    this.listeners.add(fn);
    return () => this.listeners.delete(fn);
  }

  /** The state in force; what leads to the next one goes through `change`. */
  current(): TrustRootState {
    return this.state;
  }

  /**
   * Makes a state from the one in force and commits it, one change after another; undefined changes nothing. Where the
   * signing root is another afterwards, its key is read first, and this process's own SVID is made anew.
   * **Throws** IDENTITY_STATE_MISMATCH where that key is missing, and what `make` throws; STATE_*.
   */
  change(make: (state: TrustRootState) => Promise<TrustRootState | undefined> | TrustRootState | undefined): Promise<void> {
    return this.serial(async () => {
      const before = this.state;
      const next = await make(before);
      if (next === undefined) return;
      const key = next.root === before.root ? undefined : await readRootKey(this.options.keys, signingRoot(next));
      await this.commit(next);
      if (key !== undefined) this.signer.use(Buffer.from(next.root, 'base64'), key);
      if (linkOf(before).length !== linkOf(next).length || before.root !== next.root) void this.svids.renewNow();
    });
  }

  /**
   * Does a write once for its idempotency key: the memory of it is durable together with what it changed. A dry run is
   * checked whole and changes nothing. **Throws** IDENTITY_WRITE_KEY, and what the work throws.
   */
  once<T>(terms: WriteTerms, work: () => Promise<T>): Promise<WriteAnswer<T>> {
    const keep = (): Promise<void> => this.serial(() => this.commit(this.state));
    return this.writes.once(terms, { current: () => this.state, nowMs: () => this.options.clock.nowMs(), keep }, work);
  }

  /** A new key of the same kind as the first under this name, found again where it is there. **Throws** as `KeyStore.make`. */
  makeKey(keyFile: string): Promise<StoredKey> {
    return this.options.keys.make(keyFile, this.options.keyKind ?? 'ec-p256');
  }

  /** The signing root as a CA. */
  ca(): SigningCa {
    return this.signer.ca();
  }

  async close(): Promise<void> {
    this.svids.close();
    this.listeners.clear();
    await this.serial(() => this.ledger.close());
  }

  /** Which moment each member loses its identity at, by the intermediate signed for it last. */
  private reportEnds(): void {
    for (const { cluster } of this.state.members) {
      const ends = this.state.journal.filter((entry) => entry.cluster === cluster).map((entry) => entry.expiresAtMs);
      if (ends.length > 0) this.ends?.set(Math.floor(Math.max(...ends) / 1_000), { cluster });
    }
  }

  /** Here, too, an intermediate from before a fence is nobody's any more. */
  private banRevoked(): void {
    for (const { trustDomain, issuedBeforeMs, expiresAtMs } of revokedAuthorities(this.state, this.options.clock.nowMs())) {
      this.bundles.ban(trustDomain, [{ spiffeId: spiffeIds.authority(trustDomain as TrustDomain), issuedBeforeMs, expiresAtMs }], 'root');
    }
  }

  private tokenFor(text: string, nowMs: number): TrustRootState['tokens'][number] {
    const presented = presentedToken(text, 'ict', { pins: authoritiesOf(this.state).map(sha256OfRoot), former: this.state.formerRoots ?? [] });
    // Every kept hash is compared, so that the time taken tells nothing about which one was near.
    let kept: TrustRootState['tokens'][number] | undefined;
    for (const token of this.state.tokens) if (sameHash(token.secretSha256, presented.secretSha256)) kept = token;
    if (kept === undefined) throw tokenRefused('it is unknown here, or its cluster was removed');
    checkUnspent(kept, nowMs);
    return kept;
  }

  private selfOf(cluster: string, wire: trust.Member | undefined, refuse: (why: string) => Error): Member {
    const trustDomain = clusterTrustDomain(cluster, this.options.federation);
    const self = memberFromWire(wire ?? { cluster, trustDomain, locality: '', gateways: [] });
    if (!self.ok) throw refuse(`self: ${formatProblems(self.problems)}`);
    if (self.value.cluster !== cluster) throw refuse(`it is for cluster ${cluster}, not for ${quote(self.value.cluster)}`);
    if (self.value.trustDomain !== trustDomain) throw refuse(`it is for trust domain ${trustDomain}, not for ${quote(self.value.trustDomain)}`);
    return self.value;
  }

  private refuseDuplicate(cluster: string): void {
    const { members } = this.state;
    if (members.some((m) => m.cluster === cluster)) {
      throw fail('IDENTITY_CLUSTER_EXISTS', `cluster ${cluster} is a member of ${this.options.federation} already`, {
        hint: 'choose another name, or make a token with replace for a cluster that lost its keys',
        facts: { cluster },
      });
    }
    if (members.length >= MAX_MEMBERS) throw fail('IDENTITY_DENIED', `the federation has ${members.length} members, which is its limit`);
  }

  /** Makes a state durable, and only then the one in force: its changes are in the log and on disk before anything leaves. */
  private async commit(next: TrustRootState): Promise<void> {
    const nowMs = this.options.clock.nowMs();
    const changed = { ...this.writes.remember(withoutOldWrites(next, nowMs), nowMs) };
    delete changed.restored;
    const state = pruned(changed, nowMs);
    const { records: from } = this.ledger.head();
    try {
      const log = await this.ledger.append(changesBetween(this.state, state));
      await this.file.write({ ...state, log });
      this.durable = true;
      this.writes.kept();
    } catch (error) {
      this.durable = false;
      await this.ledger.append(notInForce(from, this.ledger.head().records)).catch(() => undefined);
      throw error;
    }
    const viewChanged = state.members !== this.state.members || state.bundles !== this.state.bundles || !isDeepStrictEqual(rootMarks(state), rootMarks(this.state));
    const gone = this.state.bundles.filter((b) => !state.bundles.some((n) => n.trustDomain === b.trustDomain));
    this.state = state;
    for (const bundle of gone) this.bundles.remove(bundle.trustDomain);
    for (const bundle of state.bundles) this.bundles.update(bundle);
    this.banRevoked();
    this.reportEnds();
    this.bundles.revoke(revokedRoots(state));
    if (viewChanged) for (const listener of this.listeners) listener();
  }
}

/** The newer root under the older one's signature, while both are trusted and the newer one signs. */
function linkOf(state: TrustRootState): readonly Buffer[] {
  const rotation = openRotation(state);
  return rotation?.link === undefined || rotation.isRollback || !isSwitched(rotation) ? [] : [Buffer.from(rotation.link, 'base64')];
}
