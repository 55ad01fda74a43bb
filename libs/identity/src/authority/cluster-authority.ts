// A cluster's signing authority at work: gets its intermediate from the trust root, keeps it fresh, and signs while it lasts.
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  type Member,
  type JwtAuthority,
  messageOf,
  pathOf,
  type RenewHint,
  type SpiffeId,
  spiffeIds,
  type TrustDomain,
  type TrustFacts,
  trustDomainOf,
} from '@isthmus/model';
import { type BundleSet, sha256Hex } from '@isthmus/pki';
import type { RpcChannel, trust } from '@isthmus/rpc';
import { makePrivateDir, retryForever } from '@isthmus/runtime';
import { type ClockWatch, openClockWatch } from '../clock-watch.ts';
import { fail } from '../errors.ts';
import { fileKeyStore } from '../key-store.ts';
import { reportIdentityLoss, secondsTo } from '../identity-loss.ts';
import { type Fresh, type FreshSvid, keepFresh, openRenewal } from '../renew.ts';
import { liveRoots, rootOf } from '../root-of.ts';
import { openJsonState, type StateOf } from '../state.ts';
import type { Authority, AuthorityStatus } from './authority.ts';
import { type ClusterLog, type Observed, openClusterLog } from './cluster-log.ts';
import { type JwtKeys, openJwtKeys } from './jwt-keys.ts';
import { type JwtKeyFile, openJwtKeyFile, parseJwtKeysState } from './jwt-key-file.ts';
import { type KnownFederation, openKnownFederation, ownBundles } from './federation-view.ts';
import { type KeepOffRetiring, openKeepOffRetiring } from './keep-off.ts';
import { keepView, type KeptView } from './kept-view.ts';
import { type Granted, joinParent, openParentChannel, parentAt, type Parent, publishAtParent, readBootstrapToken, renewAtParent, reportToParent, watchParent } from './parent.ts';
import { checkSlot, controlPlaneSvid, signWith, type Slot, type SlotKey } from './slot.ts';
import { nextSlotKey } from './slot-key.ts';
import { type AuthorityOptions, type KeptOptions, selfOf, type Start, startOf, toState } from './start.ts';
import { parseSlotState, parseViewState, type SlotState, type ViewState } from './state.ts';
import { openTrustReports, type ProxyTrust, type TrustReports } from './trust-report.ts';

const HOUR_MS = 3_600_000;
const MAX_SLOT_BYTES = 256 * 1024;
const MAX_VIEW_BYTES = 64 * 1024 * 1024;

/**
 * Opens the authority: from `stateDir` without asking anybody where that holds a valid intermediate, else by the token.
 * **Throws** IDENTITY_NO_IDENTITY, IDENTITY_TOKEN_REFUSED, IDENTITY_STATE_MISMATCH, RPC_* when joining fails, STATE_*.
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  await makePrivateDir(options.stateDir);
  const kept: KeptOptions = { ...options, keys: options.keys ?? fileKeyStore(options.stateDir, { log: options.log }) };
  const slots = openJsonState(join(options.stateDir, 'authority.state'), parseSlotState, MAX_SLOT_BYTES);
  const views = openJsonState(join(options.stateDir, 'federation.state'), parseViewState, MAX_VIEW_BYTES);
  const start = await startOf(slots, kept);
  const jwtFile = openJsonState(join(options.stateDir, 'jwt-keys.state'), parseJwtKeysState, MAX_SLOT_BYTES);
  const cached = await views.read();
  const { trustDomain } = start.slot;
  const { stateDir, clock, log, metrics } = options;
  // The log signs with the authority's key, and the authority writes to the log; nothing is observed before both are there.
  const observed = (): Observed => authority.observed();
  const ledger = await openClusterLog({ stateDir, trustDomain, root: start.slot.root, observed, clock, log, metrics });
  const authority = new ClusterAuthority(kept, start, slots, views, cached, ledger, await openJwtKeyFile({ file: jwtFile, keys: kept.keys }));
  await ledger.observe();
  return authority;
}

class ClusterAuthority implements Authority {
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  readonly svids: FreshSvid;
  readonly bundles: BundleSet;
  readonly ledger: ClusterLog;
  private readonly options: KeptOptions;
  private readonly parent: Parent;
  private readonly slots: StateOf<SlotState>;
  private readonly view: KeptView;
  private readonly slot: Fresh<Slot>;
  private readonly known: KnownFederation;
  private readonly channel: RpcChannel;
  private readonly closing = new AbortController();
  private readonly watching: Promise<void>;
  private readonly lossReport: { close(): void };
  private readonly jwtKeys: JwtKeys;
  private readonly clockWatch: ClockWatch;
  private readonly keepOff: KeepOffRetiring;
  private readonly rootListeners = new Set<() => void>();
  private reports: TrustReports | undefined;
  private storedSlot: Slot;
  private tokenId: string;
  private isWatching = false;
  private heardAtMs: number | undefined;
  private lastError: string | undefined;
  private issued = 0;

  constructor(options: KeptOptions, start: Start, slots: StateOf<SlotState>, views: StateOf<ViewState>, cached: ViewState | undefined, ledger: ClusterLog, jwtKeys: JwtKeyFile) {
    this.ledger = ledger;
    const { cluster, federation, clock, random, log } = options;
    this.options = options;
    this.cluster = cluster;
    this.federation = federation;
    this.trustDomain = start.slot.trustDomain;
    this.tokenId = start.tokenId;
    this.slots = slots;
    this.known = openKnownFederation(cached, ownBundles(start.slot.root, this.trustDomain, federation), federation, log);
    this.bundles = this.known.bundles;
    this.view = keepView({ views, cached, known: this.known, onKept: () => this.reports?.changed(), log });
    this.parent = parentAt(options.trustRoot, federation);

    const timing = { clock, random };
    this.clockWatch = openClockWatch({ issuer: 'trust-root', clock, log, metrics: options.metrics });
    this.slot = openRenewal({
      ...timing,
      request: (signal) => this.renewSlot(signal),
      initial: start.slot,
      log: log.with({ what: 'intermediate' }),
      requestTimeoutMs: 30_000,
      onError: (error) => (this.lastError = messageOf(error)),
    });
    this.storedSlot = start.slot;
    const ownSvid = () => controlPlaneSvid(this.usableSlot(), clock.nowMs(), this.svidTtlMs, this.isRotating());
    this.svids = keepFresh({ ...timing, request: async () => ownSvid(), initial: ownSvid(), log: log.with({ what: 'own SVID' }) });
    this.keepOff = openKeepOffRetiring({
      ...timing,
      roots: () => this.known.roots(),
      slotRoots: () => [this.rootSha256, sha256Hex(this.storedSlot.root)],
      live: () => this.trustFacts().live,
      renewSlot: () => this.slot.renewNow(),
      renewSvid: () => this.svids.renewNow(),
    });
    // What a new intermediate is for is known at once, by the control plane's own SVID under it.
    this.slot.onChange(() => void this.svids.renewNow().then(() => this.rootsChanged()));
    this.slot.onChange(() => void this.ledger.observe());
    this.channel = openParentChannel(this.parent, this.svids, this.bundles, log);
    const publish = async (keys: readonly JwtAuthority[], signal: AbortSignal): Promise<void> => this.hear(await publishAtParent(this.channel, keys, signal));
    this.jwtKeys = openJwtKeys({ ...timing, kept: jwtKeys, publish, log });
    if (start.view !== undefined) void this.hear(start.view);
    this.watching = retryForever({
      clock,
      backoff: { baseMs: 200, maxMs: 10_000, random },
      signal: this.closing.signal,
      attempt: () => this.watchOnce(),
      onError: (error) => this.watchFailed(error),
    });
    this.lossReport = reportIdentityLoss(options.metrics, clock, () => this.status().secondsToIdentityLoss);
  }

  members(): readonly Member[] {
    return this.known.members();
  }

  onMembers(fn: (members: readonly Member[]) => void): () => void {
    return this.known.onMembers(fn);
  }

  sign(request: Parameters<Authority['sign']>[0]): { readonly chain: readonly Buffer[] } {
    if (trustDomainOf(request.spiffeId) !== this.trustDomain || request.spiffeId === spiffeIds.authority(this.trustDomain)) {
      throw fail('IDENTITY_DENIED', `${request.spiffeId} is no SVID that ${this.trustDomain} may sign`);
    }
    const chain = signWith(this.usableSlot(), {
      publicKey: request.publicKey,
      spiffeId: request.spiffeId,
      dnsNames: request.dnsNames,
      ttlMs: request.ttlMs ?? this.svidTtlMs,
      nowMs: this.options.clock.nowMs(),
      holder: request.holder,
      askedAtMs: request.askedAtMs,
    });
    this.issued += 1;
    return { chain };
  }

  async signJwt(request: { readonly spiffeId: SpiffeId; readonly audience: readonly string[] }): Promise<{ readonly token: string; readonly expiresAtMs: number }> {
    if (trustDomainOf(request.spiffeId) !== this.trustDomain || pathOf(request.spiffeId) === '') {
      throw fail('IDENTITY_DENIED', `${request.spiffeId} is no SVID that ${this.trustDomain} may sign`);
    }
    return this.jwtKeys.sign(request);
  }

  renewNow(): Promise<void> {
    return this.slot.renewNow();
  }

  get rootSha256(): string {
    return sha256Hex((this.slot.current() ?? this.storedSlot).root);
  }

  rootPins(): readonly string[] {
    return (this.bundles.get(this.trustDomain)?.x509Authorities ?? []).map((a) => sha256Hex(Buffer.from(a, 'base64')));
  }

  renewHint(): Omit<RenewHint, 'spreadMs'> {
    const marked = (state: string): string[] => this.known.roots().flatMap((r) => (r.state === state ? [r.sha256] : []));
    const retiring = marked('retiring');
    return { retiring: retiring.includes(this.rootSha256) ? [] : retiring, revoked: marked('revoked') };
  }

  onRoots(fn: () => void): () => void {
    this.rootListeners.add(fn);
    return () => this.rootListeners.delete(fn);
  }

  reportTrust(proxies: () => Promise<readonly ProxyTrust[]>): { changed(): void } {
    const { clock, random, log } = this.options;
    this.reports ??= openTrustReports({
      own: () => this.trustFacts(),
      proxies,
      send: (report, signal) => reportToParent(this.channel, report, signal),
      isRotating: () => this.isRotating(),
      clock,
      random,
      log,
    });
    return this.reports;
  }

  status(): AuthorityStatus {
    const slot = this.slot.current();
    const intermediateExpiresAtMs = slot?.expiresAtMs ?? 0;
    return {
      trustDomain: this.trustDomain,
      rootSha256: this.rootSha256,
      rootExpiresAtMs: Date.parse(new X509Certificate((slot ?? this.storedSlot).root).validTo),
      intermediateExpiresAtMs,
      ownSvidExpiresAtMs: this.svids.current()?.expiresAtMs ?? 0,
      secondsToIdentityLoss: secondsTo(intermediateExpiresAtMs, this.options.clock.nowMs()),
      trustRootReachable: this.isWatching,
      trustRootHeardAtMs: this.heardAtMs,
      lastError: this.lastError,
      clockSkewMs: this.clockWatch.skewMs(),
      issued: this.issued,
      log: { ...this.ledger.head(), isWritable: this.ledger.isWritable() },
    };
  }

  /** What is in force here and belongs into the log. */
  observed(): Observed {
    return { slot: this.slot.current(), members: this.known.members(), bundles: this.known.bundles.all() };
  }

  async close(): Promise<void> {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    this.rootListeners.clear();
    this.keepOff.close();
    await this.reports?.close();
    await this.jwtKeys.close();
    this.slot.close();
    this.svids.close();
    this.lossReport.close();
    this.known.close();
    await this.watching;
    this.channel.close();
    await this.view.close();
    await this.ledger.close();
  }

  private get svidTtlMs(): number {
    return this.options.svidTtlMs ?? HOUR_MS;
  }

  private usableSlot(): Slot {
    const slot = this.slot.current();
    if (slot !== undefined && slot.expiresAtMs > this.options.clock.nowMs()) return slot;
    throw fail('IDENTITY_EXPIRED', `the intermediate of ${this.trustDomain} has expired and the trust root renewed it not`, {
      hint: `see why ${this.parent.address} does not answer; after its end a cluster token with replace is needed`,
    });
  }

  /** A new intermediate: by mutual TLS as a member, or by a bootstrap token that was not spent here yet. */
  private async renewSlot(signal: AbortSignal): Promise<Slot> {
    const { options } = this;
    const key = await nextSlotKey(options.keys, this.storedSlot.keyName, options.log);
    const sentMs = options.clock.nowMs();
    const answer = await renewAtParent(this.channel, selfOf(options), key, signal).catch((error: unknown) => this.joinAgain(error, key));
    this.clockWatch.note(answer.slot.intermediate, sentMs);
    checkSlot(answer.slot, options.clock.nowMs());
    // The view first: an intermediate of a new root is worth nothing here before its root is.
    await this.hear(answer.view);
    if (!this.rootPins().includes(sha256Hex(answer.slot.root))) {
      throw fail('IDENTITY_PARENT_REFUSED', 'the trust root answered with another root certificate than the known ones');
    }
    // A full disk must not cost the cluster its identity: the one on disk is good for a restart until it ends.
    if (answer.slot.keyName !== undefined) {
      await this.slots.write(toState(options, answer.slot, this.tokenId)).then(
        () => (this.storedSlot = answer.slot),
        (error: unknown) => options.log.error('the new intermediate is kept in memory only', { error: messageOf(error) }),
      );
    }
    this.lastError = undefined;
    options.log.info('intermediate renewed', { trustDomain: this.trustDomain, expiresAtMs: answer.slot.expiresAtMs });
    return answer.slot;
  }

  private async joinAgain(refusal: unknown, key: SlotKey): Promise<Granted> {
    const { token, cluster, federation, log } = this.options;
    if (token === undefined) throw refusal;
    const read = readBootstrapToken(token, cluster, federation);
    if (read.id === this.tokenId) throw refusal;
    const answer = await joinParent(this.parent, token, read.pinSha256, selfOf(this.options), key, log);
    this.tokenId = read.id;
    return answer;
  }

  private async watchOnce(): Promise<void> {
    try {
      await watchParent(this.channel, this.closing.signal, (view) => {
        if (!this.isWatching) this.options.log.info('trust root is heard', { address: this.parent.address });
        // The trust root keeps no reports over its restart.
        if (!this.isWatching) this.reports?.changed();
        this.isWatching = true;
        this.lastError = undefined;
        void this.hear(view);
      });
      // A stream that ends without an error is a trust root that stops; it is dialled again like any other loss.
      if (!this.closing.signal.aborted) throw fail('IDENTITY_PARENT_REFUSED', 'the trust root ended the stream');
    } finally {
      this.isWatching = false;
    }
  }

  private watchFailed(error: unknown): void {
    this.lastError = messageOf(error);
    this.options.log.warn('trust root is not heard, the last view is kept', { error: this.lastError });
  }

  /** Takes a view into force at once; resolves when it is on disk, or could not be put there. */
  private async hear(view: trust.FederationView): Promise<void> {
    this.heardAtMs = this.options.clock.nowMs();
    const before = this.known.roots();
    const hasChanged = this.known.take(view);
    if (this.known.roots() !== before && !isDeepStrictEqual(this.known.roots(), before)) void this.svids.renewNow().then(() => this.rootsChanged());
    else this.keepOff.look();
    if (!hasChanged) return;
    void this.ledger.observe();
    if (!this.known.members().some((m) => m.cluster === this.cluster)) {
      this.options.log.error('this cluster was removed from the federation; it serves itself until its intermediate ends', { cluster: this.cluster });
    }
    await this.view.save();
  }

  private isRotating(): boolean {
    return (this.bundles.get(this.trustDomain)?.x509Authorities.length ?? 0) > 1;
  }

  private rootsChanged(): void {
    this.keepOff.look();
    this.reports?.changed();
    for (const listener of this.rootListeners) listener();
  }

  private trustFacts(): TrustFacts {
    const own = this.bundles.get(this.trustDomain)?.x509Authorities ?? [];
    const slots = [this.slot.current() ?? this.storedSlot, this.storedSlot].map((s) => ({ rootSha256: sha256Hex(s.root), expiresAtMs: s.expiresAtMs }));
    const svid = this.svids.current();
    const svidRoot = svid && rootOf(svid.chain, own);
    return {
      held: this.view.held(),
      live: liveRoots([...slots, ...(svid !== undefined && svidRoot !== undefined ? [{ rootSha256: svidRoot, expiresAtMs: svid.expiresAtMs }] : [])]),
    };
  }
}
