// A proxy's identity: joined once by token or resumed from disk, kept fresh, with the SVIDs of the services beside it.
import { clusterTrustDomain, type ErrorClass, IsthmusError, messageOf, type RenewHint, type ServiceName, type SpiffeId, spiffeIds, type TrustDomain, type TrustFacts } from '@isthmus/model';
import { type BundleSet, openBundleSet, type SvidSource, type X509Svid } from '@isthmus/pki';
import { openChannel, type RpcChannel } from '@isthmus/rpc';
import { makePrivateDir } from '@isthmus/runtime';
import { type ClockWatch, openClockWatch } from '../clock-watch.ts';
import { fail } from '../errors.ts';
import { reportIdentityLoss, secondsTo } from '../identity-loss.ts';
import { type FreshSvid, keepFresh } from '../renew.ts';
import { heldBundles, liveRoots, rootOf } from '../root-of.ts';
import { openSerial } from '../serial.ts';
import type { StateOf } from '../state.ts';
import { checkJwtSvid, type JwtSvid, type JwtSvids, openJwtSvids } from './jwt-svids.ts';
import { type KeepOff, openKeepOff } from './keep-off.ts';
import { type ChannelRequest, type Granted, requestJoin, requestJwt, requestRenewal, requestService, serverNameOf } from './request.ts';
import { openServiceSvids, type ServiceSvids } from './service-svids.ts';
import { CALL_TIMEOUT_MS, type IdentityOptions, joinOptions, rootsOf, spentHint, type Start, startOf, ticketOf, toState } from './start.ts';
import type { ProxyState } from './state.ts';
import type { JoinTicket } from './ticket.ts';

export type { IdentityOptions } from './start.ts';

export type IdentityStatus = {
  readonly spiffeId: SpiffeId;
  readonly expiresAtMs: number;
  /** Seconds until this proxy's own SVID runs out, if nothing is renewed. */
  readonly secondsToIdentityLoss: number;
  /** How far the control plane’s clock was ahead of this machine’s at the last renewal; undefined before the first. */
  readonly clockSkewMs: number | undefined;
  readonly services: readonly { readonly spiffeId: SpiffeId; readonly expiresAtMs: number }[];
  /** The last renewal that was refused or failed, until the next success. */
  readonly lastError: string | undefined;
};

export interface Identity {
  readonly trustDomain: TrustDomain;
  readonly cluster: string;
  readonly federation: TrustDomain;
  /** This proxy's own ID: `…/agent/<name>` or `…/gateway`. */
  readonly spiffeId: SpiffeId;
  /** This proxy's name: the agent its token was made for. */
  readonly agent: string;
  readonly svids: SvidSource;
  readonly bundles: BundleSet;
  /** The service's SVID: issued on the first call, kept fresh since; `current()` is undefined until it is there. */
  serviceSvids(service: ServiceName): SvidSource;
  /** The same for the service's own processes, by a key of its own: this proxy's key stays here (decision 0012). */
  workloadSvids(service: ServiceName): SvidSource;
  /** A JWT-SVID of the service for these audiences, good for some minutes; kept here and renewed at half life. Rejects with IDENTITY_*, RPC_*. */
  jwtSvid(service: ServiceName, audience: readonly string[]): Promise<JwtSvid>;
  /** The one channel to the control plane, owned by this identity: do not close it. */
  channel(): RpcChannel;
  /** Renews this proxy's own SVID now; resolves when that was answered or failed. */
  renewNow(): Promise<void>;
  status(): IdentityStatus;
  /** Which bundles are in force here, and which roots the SVIDs hang on; what is only on disk counts for the roots too. */
  trustFacts(): TrustFacts;
  /** Called after bundles or SVIDs changed; returns the unsubscriber. */
  onTrust(fn: () => void): () => void;
  /** Takes the control plane's word on roots that are on their way out: what hangs on them is renewed. */
  takeHint(hint: RenewHint): void;
  close(): Promise<void>;
}

/**
 * Resumes the identity in `stateDir` while its SVID is valid, asking nobody; else joins with the token.
 * **Throws** IDENTITY_NO_IDENTITY when there is neither, IDENTITY_TOKEN_REFUSED, IDENTITY_STATE_MISMATCH, RPC_*, STATE_*.
 */
export async function joinOrResume(options: IdentityOptions): Promise<Identity> {
  await makePrivateDir(options.stateDir);
  const { start, file } = await startOf(options);
  return new ProxyIdentity(options, file, start);
}

class ProxyIdentity implements Identity {
  readonly trustDomain: TrustDomain;
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly spiffeId: SpiffeId;
  readonly agent: string;
  readonly svids: FreshSvid;
  readonly bundles: BundleSet;
  private readonly options: IdentityOptions;
  private readonly file: StateOf<ProxyState>;
  private readonly services: ServiceSvids;
  private readonly workloads: ServiceSvids;
  private readonly jwts: JwtSvids;
  private readonly serial = openSerial();
  private readonly lossReport: { close(): void };
  private readonly server: RpcChannel;
  private readonly keepOff: KeepOff;
  private readonly clockWatch: ClockWatch;
  private readonly trustListeners = new Set<() => void>();
  /** The SVID a restart would begin with. */
  private stored: X509Svid;
  private tokenId: string;
  private lastError: string | undefined;
  private mustJoinAgain = false;
  private isClosed = false;

  constructor(options: IdentityOptions, file: StateOf<ProxyState>, start: Start) {
    const { clock, random, log, stateDir } = options;
    this.options = options;
    this.file = file;
    this.cluster = start.cluster;
    this.federation = start.federation;
    this.agent = start.agent;
    this.tokenId = start.tokenId;
    this.trustDomain = clusterTrustDomain(start.cluster, start.federation);
    this.spiffeId = start.svid.spiffeId as SpiffeId;
    this.bundles = openBundleSet([...start.bundles]);
    this.stored = start.svid;
    this.clockWatch = openClockWatch({ issuer: 'control-plane', clock, log, metrics: options.metrics });
    this.svids = keepFresh({
      request: (signal) => this.renewOwn(signal),
      initial: start.svid,
      clock,
      random,
      log: log.with({ spiffeId: this.spiffeId }),
      requestTimeoutMs: this.timeoutMs * 3,
      onError: (error) => (this.lastError = messageOf(error)),
    });
    this.server = this.openServer();
    const openSvids = (filePrefix: string): ServiceSvids =>
      openServiceSvids({
        stateDir,
        filePrefix,
        trustDomain: this.trustDomain,
        bundles: this.bundles,
        onRenewed: () => this.tellTrust(),
        request: (spiffeId, service, signal) => this.requestService(spiffeId, service, signal),
        clock,
        random,
        log,
      });
    this.services = openSvids('svid');
    this.workloads = openSvids('workload-svid');
    this.jwts = openJwtSvids({ request: (service, audience) => this.requestJwt(service, audience), clock });
    this.lossReport = reportIdentityLoss(options.metrics, clock, () => this.status().secondsToIdentityLoss);
    this.keepOff = openKeepOff({ holders: () => [this.svids, ...this.services.all(), ...this.workloads.all()], authorities: () => this.authorities(), clock, random });
    this.bundles.onChange(() => this.tellTrust());
    this.svids.onChange(() => this.tellTrust());
  }

  serviceSvids(service: ServiceName): SvidSource {
    return this.services.get(service);
  }

  workloadSvids(service: ServiceName): SvidSource {
    return this.workloads.get(service);
  }

  jwtSvid(service: ServiceName, audience: readonly string[]): Promise<JwtSvid> {
    return this.jwts.get(service, audience);
  }

  channel(): RpcChannel {
    return this.server;
  }

  renewNow(): Promise<void> {
    return this.svids.renewNow();
  }

  status(): IdentityStatus {
    const expiresAtMs = this.svids.current()?.expiresAtMs ?? 0;
    return {
      spiffeId: this.spiffeId,
      expiresAtMs,
      secondsToIdentityLoss: secondsTo(expiresAtMs, this.options.clock.nowMs()),
      clockSkewMs: this.clockWatch.skewMs(),
      services: this.services.list(),
      lastError: this.lastError,
    };
  }

  trustFacts(): TrustFacts {
    const svids = [this.svids.current(), this.stored, ...[...this.services.all(), ...this.workloads.all()].map((s) => s.current())].filter((s) => s !== undefined);
    return {
      held: heldBundles(this.bundles),
      live: liveRoots(
        svids.flatMap(({ chain, expiresAtMs }) => {
          const rootSha256 = rootOf(chain, this.authorities());
          return rootSha256 === undefined ? [] : [{ rootSha256, expiresAtMs }];
        }),
      ),
    };
  }

  onTrust(fn: () => void): () => void {
    this.trustListeners.add(fn);
    return () => this.trustListeners.delete(fn);
  }

  takeHint(hint: RenewHint): void {
    this.keepOff.hint(hint);
    this.bundles.revoke(hint.revoked);
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.keepOff.close();
    this.trustListeners.clear();
    this.svids.close();
    this.services.close();
    this.workloads.close();
    this.lossReport.close();
    this.server.close();
    await this.serial(async () => undefined);
  }

  private get timeoutMs(): number {
    return this.options.requestTimeoutMs ?? CALL_TIMEOUT_MS;
  }

  private async renewOwn(signal: AbortSignal): Promise<X509Svid> {
    const sentMs = this.options.clock.nowMs();
    const ticket = this.mustJoinAgain ? this.unspentTicket() : undefined;
    const renewal = ticket === undefined ? this.renewAt(signal) : this.joinAgain(ticket);
    const granted = await renewal.catch((error: unknown) => this.joinAfter(error));
    if (granted.svid.chain[0] !== undefined) this.clockWatch.note(granted.svid.chain[0], sentMs);
    await this.take(granted);
    this.lastError = undefined;
    this.options.log.debug('own SVID renewed', { spiffeId: this.spiffeId, expiresAtMs: granted.svid.expiresAtMs });
    return granted.svid;
  }

  /** Over a connection of its own, which shows the SVID of now: the long-lived one still shows that of its beginning. */
  private async renewAt(signal: AbortSignal): Promise<Granted> {
    const channel = this.openServer();
    try {
      return await requestRenewal(this.spiffeId, { ...this.request(signal), channel });
    } finally {
      channel.close();
    }
  }

  private openServer(): RpcChannel {
    const { server, log } = this.options;
    return openChannel({
      address: server.address,
      serverName: serverNameOf(server, this.trustDomain),
      expectedId: spiffeIds.controlPlane(this.trustDomain),
      svids: this.svids,
      bundles: this.bundles,
      log,
    });
  }

  private async requestService(spiffeId: SpiffeId, service: ServiceName, signal: AbortSignal): Promise<X509Svid> {
    try {
      const granted = await requestService(spiffeId, service, this.request(signal));
      for (const bundle of granted.bundles) this.bundles.update(bundle);
      return granted.svid;
    } catch (error) {
      // A service that the entry does not list may be listed by a newer token: joining with it makes the entry anew.
      if (classOf(error) === 'denied' && this.unspentTicket()?.isRepeatable === false) {
        this.mustJoinAgain = true;
        await this.svids.renewNow();
      }
      throw error;
    }
  }

  private async requestJwt(service: ServiceName, audience: readonly string[]): Promise<JwtSvid> {
    const { log, clock } = this.options;
    const { svid, bundles } = await requestJwt(this.server, service, audience, { timeoutMs: this.timeoutMs, log });
    // The first token may be here before the bundle with its key comes by the stream.
    for (const bundle of bundles) this.bundles.update(bundle);
    await checkJwtSvid(svid.token, { spiffeId: spiffeIds.service(this.trustDomain, service), audience }, this.bundles, clock.nowMs());
    return svid;
  }

  /** Renewal was refused or this SVID has run out: evidence that may be shown again, or a token not spent yet, lets this proxy in again. */
  private async joinAfter(refusal: unknown): Promise<Granted> {
    const isExpired = (this.svids.current()?.expiresAtMs ?? 0) <= this.options.clock.nowMs();
    const isRefused = classOf(refusal) === 'denied' || classOf(refusal) === 'unauthenticated';
    if (!isRefused && !isExpired) throw refusal;
    const ticket = this.unspentTicket();
    if (ticket !== undefined) return this.joinAgain(ticket);
    if (!isExpired) throw refusal;
    throw fail('IDENTITY_NO_IDENTITY', `the SVID of ${this.spiffeId} ran out at ${new Date(this.svids.current()?.expiresAtMs ?? 0).toISOString()}, and a join token lets it in once only: ${spentHint(this.agent)}`, {
      cause: refusal,
    });
  }

  private async joinAgain(ticket: JoinTicket): Promise<Granted> {
    this.mustJoinAgain = false;
    const granted = await requestJoin(ticket, { ...joinOptions(this.options), knownRootsSha256: rootsOf(this.bundles.all(), this.trustDomain) });
    if (granted.svid.spiffeId !== this.spiffeId) {
      throw fail('IDENTITY_STATE_MISMATCH', `the control plane now calls this ${granted.svid.spiffeId}, it is running as ${this.spiffeId}`, { hint: 'restart it to take the new name' });
    }
    this.tokenId = ticket.id;
    this.options.log.info('attested again', { spiffeId: this.spiffeId, method: ticket.evidence.method, tokenId: ticket.id });
    return granted;
  }

  private unspentTicket(): JoinTicket | undefined {
    const ticket = ticketOf(this.options);
    return ticket === undefined || ticket.isRepeatable || ticket.id !== this.tokenId ? ticket : undefined;
  }

  private async take(granted: Granted): Promise<void> {
    for (const bundle of granted.bundles) this.bundles.update(bundle);
    for (const { trustDomain } of this.bundles.all()) {
      if (trustDomain !== this.trustDomain && !granted.bundles.some((b) => b.trustDomain === trustDomain)) this.bundles.remove(trustDomain);
    }
    const { cluster, federation, agent, tokenId } = this;
    const state = toState({ cluster, federation, agent, tokenId, svid: granted.svid, bundles: this.bundles.all() });
    // A full disk must not cost the proxy its identity: the one on disk is good for a restart until it ends.
    await this.serial(() => this.file.write(state)).then(
      () => (this.stored = granted.svid),
      (error: unknown) => this.options.log.error('the new SVID is kept in memory only', { error: messageOf(error) }),
    );
  }

  private authorities(): readonly string[] {
    return this.bundles.get(this.trustDomain)?.x509Authorities ?? [];
  }

  private tellTrust(): void {
    this.keepOff.look();
    for (const listener of this.trustListeners) listener();
  }

  private request(signal: AbortSignal): ChannelRequest {
    const { keyKind, log, clock } = this.options;
    return { channel: this.server, bundles: this.bundles, keyKind, timeoutMs: this.timeoutMs, signal, log, nowMs: () => clock.nowMs() };
  }
}

function classOf(error: unknown): ErrorClass | undefined {
  return error instanceof IsthmusError ? error.class : undefined;
}
