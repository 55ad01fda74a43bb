// A cluster's signing authority: gets its intermediate from the trust root, keeps it fresh, and signs while it lasts.
import { type KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import {
  type Bundle,
  type Member,
  messageOf,
  type SpiffeId,
  spiffeIds,
  type TrustDomain,
  trustDomainOf,
} from '@isthmus/model';
import { type BundleSet, sha256Hex, type SvidSource } from '@isthmus/pki';
import type { RpcChannel, trust } from '@isthmus/rpc';
import { makePrivateDir, retryForever } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { reportIdentityLoss, secondsTo } from '../identity-loss.ts';
import { type Fresh, type FreshSvid, keepFresh, openRenewal } from '../renew.ts';
import { openSerial } from '../serial.ts';
import { openJsonState, type StateOf } from '../state.ts';
import { type ClusterLog, type Observed, openClusterLog } from './cluster-log.ts';
import { type KnownFederation, openKnownFederation } from './federation-view.ts';
import { type Granted, joinParent, openParentChannel, parentAt, type Parent, readBootstrapToken, renewAtParent, watchParent } from './parent.ts';
import type { Head } from '../transparency-log/record.ts';
import { checkSlot, controlPlaneSvid, signWith, type Slot } from './slot.ts';
import { type AuthorityOptions, selfOf, type Start, startOf, toState } from './start.ts';
import { parseSlotState, parseViewState, type SlotState, type ViewState } from './state.ts';

const HOUR_MS = 3_600_000;
const MAX_SLOT_BYTES = 256 * 1024;
const MAX_VIEW_BYTES = 64 * 1024 * 1024;

export type { AuthorityOptions } from './start.ts';

/** How long everything lasts, for `status` and for alarms. */
export type AuthorityStatus = {
  readonly trustDomain: TrustDomain;
  readonly rootExpiresAtMs: number;
  readonly intermediateExpiresAtMs: number;
  readonly ownSvidExpiresAtMs: number;
  /** Seconds until this cluster can issue nothing more, if nothing is renewed. */
  readonly secondsToIdentityLoss: number;
  /** The stream of members is open now. */
  readonly trustRootReachable: boolean;
  /** When the trust root was last heard; undefined when never since the start. */
  readonly trustRootHeardAtMs: number | undefined;
  /** The last failure of renewal or of the stream, until the next success. */
  readonly lastError: string | undefined;
  /** SVIDs signed since the start. */
  readonly issued: number;
  /** Where the transparency log stands, and whether it can be written. */
  readonly log: Head & { readonly isWritable: boolean };
};

export interface Authority {
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  /** The control plane's own SVID, `spiffe://<td>/control-plane`, client and server. */
  readonly svids: SvidSource;
  /** One bundle for each trust domain of the federation, this one's and the federation's own among them. */
  readonly bundles: BundleSet;
  /** SHA-256 (hex) of the root certificate: what join tokens pin. */
  readonly rootSha256: string;
  /** Every member, this cluster among them, as last heard. */
  members(): readonly Member[];
  onMembers(fn: (members: readonly Member[]) => void): () => void;
  /**
   * Signs an SVID of this trust domain; the life is clipped to the intermediate's rest.
   * **Throws** IDENTITY_EXPIRED when the intermediate has run out, IDENTITY_DENIED for an ID of another trust domain.
   */
  sign(request: {
    readonly publicKey: KeyObject;
    readonly spiffeId: SpiffeId;
    readonly dnsNames?: readonly string[];
    readonly ttlMs?: number;
    /** The agent it is for, where that is another ID. */
    readonly holder?: SpiffeId;
    /** When it was asked for, before the asker's right was looked up: a ban in between then holds for it. Default now. */
    readonly askedAtMs?: number;
  }): { readonly chain: readonly Buffer[] };
  /** The cluster's transparency log: what changes who may have which identity is in it before it is told. */
  readonly ledger: ClusterLog;
  /** Renews the intermediate now; resolves when that was answered or failed. */
  renewNow(): Promise<void>;
  status(): AuthorityStatus;
  close(): Promise<void>;
}

/**
 * Opens the authority: from `stateDir` without asking anybody where that holds a valid intermediate, else by the token.
 * **Throws** IDENTITY_NO_IDENTITY, IDENTITY_TOKEN_REFUSED, IDENTITY_STATE_MISMATCH, RPC_* when joining fails, STATE_*.
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  await makePrivateDir(options.stateDir);
  const slots = openJsonState(join(options.stateDir, 'authority.state'), parseSlotState, MAX_SLOT_BYTES);
  const views = openJsonState(join(options.stateDir, 'federation.state'), parseViewState, MAX_VIEW_BYTES);
  const start = await startOf(slots, options);
  const cached = await views.read();
  const { trustDomain } = start.slot;
  const { stateDir, clock, log, metrics } = options;
  // The log signs with the authority's key, and the authority writes to the log; nothing is observed before both are there.
  const observed = (): Observed => authority.observed();
  const ledger = await openClusterLog({ stateDir, trustDomain, root: start.root, observed, clock, log, metrics });
  const authority = new ClusterAuthority(options, start, slots, views, cached, ledger);
  await ledger.observe();
  return authority;
}

class ClusterAuthority implements Authority {
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  readonly svids: FreshSvid;
  readonly bundles: BundleSet;
  readonly rootSha256: string;
  readonly ledger: ClusterLog;
  private readonly options: AuthorityOptions;
  private readonly parent: Parent;
  private readonly root: Buffer;
  private readonly slots: StateOf<SlotState>;
  private readonly views: StateOf<ViewState>;
  private readonly slot: Fresh<Slot>;
  private readonly known: KnownFederation;
  private readonly channel: RpcChannel;
  private readonly serial = openSerial();
  private readonly closing = new AbortController();
  private readonly watching: Promise<void>;
  private readonly lossReport: { close(): void };
  private tokenId: string;
  private isWatching = false;
  private heardAtMs: number | undefined;
  private lastError: string | undefined;
  private issued = 0;

  constructor(options: AuthorityOptions, start: Start, slots: StateOf<SlotState>, views: StateOf<ViewState>, cached: ViewState | undefined, ledger: ClusterLog) {
    this.ledger = ledger;
    const { cluster, federation, clock, random, log } = options;
    this.options = options;
    this.cluster = cluster;
    this.federation = federation;
    this.trustDomain = start.slot.trustDomain;
    this.root = start.root;
    this.rootSha256 = sha256Hex(start.root);
    this.tokenId = start.tokenId;
    this.slots = slots;
    this.views = views;
    this.known = openKnownFederation(cached, ownBundles(start.root, this.trustDomain, federation), federation, log);
    this.bundles = this.known.bundles;
    this.parent = parentAt(options.trustRoot, federation);

    const timing = { clock, random };
    this.slot = openRenewal({
      ...timing,
      request: (signal) => this.renewSlot(signal),
      initial: start.slot,
      log: log.with({ what: 'intermediate' }),
      requestTimeoutMs: 30_000,
      onError: (error) => (this.lastError = messageOf(error)),
    });
    const ownSvid = () => controlPlaneSvid(this.usableSlot(), clock.nowMs(), this.svidTtlMs);
    this.svids = keepFresh({ ...timing, request: async () => ownSvid(), initial: ownSvid(), log: log.with({ what: 'own SVID' }) });
    // What a new intermediate is for is known at once, by the control plane's own SVID under it.
    this.slot.onChange(() => void this.svids.renewNow());
    this.slot.onChange(() => void this.ledger.observe());
    this.channel = openParentChannel(this.parent, this.svids, this.bundles, log);
    if (start.view !== undefined) this.hear(start.view);
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

  renewNow(): Promise<void> {
    return this.slot.renewNow();
  }

  status(): AuthorityStatus {
    const slot = this.slot.current();
    const intermediateExpiresAtMs = slot?.expiresAtMs ?? 0;
    return {
      trustDomain: this.trustDomain,
      rootExpiresAtMs: Date.parse(new X509Certificate(this.root).validTo),
      intermediateExpiresAtMs,
      ownSvidExpiresAtMs: this.svids.current()?.expiresAtMs ?? 0,
      secondsToIdentityLoss: secondsTo(intermediateExpiresAtMs, this.options.clock.nowMs()),
      trustRootReachable: this.isWatching,
      trustRootHeardAtMs: this.heardAtMs,
      lastError: this.lastError,
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
    this.slot.close();
    this.svids.close();
    this.lossReport.close();
    this.known.close();
    await this.watching;
    this.channel.close();
    await this.serial(async () => undefined);
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
    const answer = await renewAtParent(this.channel, selfOf(options), this.root, signal).catch((error: unknown) => this.joinAgain(error));
    checkSlot(answer.slot, this.root, options.clock.nowMs());
    await this.slots.write(toState(options, answer.slot, this.root, this.tokenId)).catch((error: unknown) => {
      // A full disk must not cost the cluster its identity: the one on disk is good for a restart until it ends.
      options.log.error('the new intermediate is kept in memory only', { error: messageOf(error) });
    });
    this.lastError = undefined;
    this.hear(answer.view);
    options.log.info('intermediate renewed', { trustDomain: this.trustDomain, expiresAtMs: answer.slot.expiresAtMs });
    return answer.slot;
  }

  private async joinAgain(refusal: unknown): Promise<Granted> {
    const { token, cluster, federation, log } = this.options;
    if (token === undefined) throw refusal;
    const read = readBootstrapToken(token, cluster, federation);
    if (read.id === this.tokenId || read.pinSha256 !== this.rootSha256) throw refusal;
    const answer = await joinParent(this.parent, token, read.pinSha256, selfOf(this.options), log);
    this.tokenId = read.id;
    return answer;
  }

  private async watchOnce(): Promise<void> {
    try {
      await watchParent(this.channel, this.closing.signal, (view) => {
        if (!this.isWatching) this.options.log.info('trust root is heard', { address: this.parent.address });
        this.isWatching = true;
        this.lastError = undefined;
        this.hear(view);
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

  private hear(view: trust.FederationView): void {
    this.heardAtMs = this.options.clock.nowMs();
    if (!this.known.take(view)) return;
    const { log } = this.options;
    void this.ledger.observe();
    if (!this.known.members().some((m) => m.cluster === this.cluster)) {
      log.error('this cluster was removed from the federation; it serves itself until its intermediate ends', { cluster: this.cluster });
    }
    const save = (): Promise<void> => this.views.write(this.known.toState());
    this.serial(save).catch((error: unknown) => log.warn('the view could not be kept on disk', { error: messageOf(error) }));
  }
}

function ownBundles(root: Buffer, trustDomain: TrustDomain, federation: TrustDomain): Bundle[] {
  return [trustDomain, federation].map((td) => ({
    trustDomain: td,
    sequence: 0,
    refreshHintSeconds: 300,
    x509Authorities: [root.toString('base64')],
  }));
}
