// A proxy's identity: joined once by token or resumed from disk, kept fresh, with the SVIDs of the services beside it.
import { join } from 'node:path';
import {
  type Bundle,
  clusterTrustDomain,
  type ErrorClass,
  IsthmusError,
  messageOf,
  type ServiceName,
  type SpiffeId,
  spiffeIds,
  type TrustDomain,
} from '@isthmus/model';
import { type BundleSet, type KeyKind, openBundleSet, type SvidSource, verifySvid, type X509Svid } from '@isthmus/pki';
import { openChannel, type RpcChannel } from '@isthmus/rpc';
import { type Clock, makePrivateDir, type Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { reportIdentityLoss, secondsTo } from '../identity-loss.ts';
import { type FreshSvid, keepFresh } from '../renew.ts';
import { openSerial } from '../serial.ts';
import { openJsonState, type StateOf } from '../state.ts';
import { untilReachable } from '../until-reachable.ts';
import { type ChannelRequest, type Granted, type JoinTicket, readJoinToken, requestJoin, requestRenewal, requestService, serverNameOf } from './request.ts';
import { openServiceSvids, type ServiceSvids } from './service-svids.ts';
import { MAX_PROXY_BYTES, parseProxyState, type ProxyState, svidFromState, svidToState } from './state.ts';

const CALL_TIMEOUT_MS = 10_000;

export type IdentityOptions = {
  /** Directory of keys, SVIDs and bundles, mode 0700. */
  readonly stateDir: string;
  /** The one-time join token; used where the stored identity is not valid, or its renewal is refused. */
  readonly token?: string | undefined;
  /** `host:port` of the control plane or of the gateway in front of it; `serverName` defaults to `control-plane.isthmus.<td>`. */
  readonly server: { readonly address: string; readonly serverName?: string | undefined };
  /** Kind of the keys made here. Default `ec-p256`. */
  readonly keyKind?: KeyKind;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: Metrics;
  /** Limit of one call to the control plane. 10 s. */
  readonly requestTimeoutMs?: number;
  /** How long a first start waits for a control plane that does not answer. 60 s. */
  readonly joinTimeoutMs?: number;
};

export type IdentityStatus = {
  readonly spiffeId: SpiffeId;
  readonly expiresAtMs: number;
  /** Seconds until this proxy's own SVID runs out, if nothing is renewed. */
  readonly secondsToIdentityLoss: number;
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
  /** The one channel to the control plane, owned by this identity: do not close it. */
  channel(): RpcChannel;
  /** Renews this proxy's own SVID now; resolves when that was answered or failed. */
  renewNow(): Promise<void>;
  status(): IdentityStatus;
  close(): Promise<void>;
}

/**
 * Resumes the identity in `stateDir` while its SVID is valid, asking nobody; else joins with the token.
 * **Throws** IDENTITY_NO_IDENTITY when there is neither, IDENTITY_TOKEN_REFUSED, IDENTITY_STATE_MISMATCH, RPC_*, STATE_*.
 */
export async function joinOrResume(options: IdentityOptions): Promise<Identity> {
  await makePrivateDir(options.stateDir);
  const file = openJsonState(join(options.stateDir, 'identity.state'), parseProxyState, MAX_PROXY_BYTES);
  const stored = await readStored(file, options);
  const ticket = options.token === undefined ? undefined : readJoinToken(options.token);
  if (stored !== undefined && ticket !== undefined) refuseOther(stored, ticket, options.stateDir);
  const start = resumed(stored, options);
  if (start.ok) return new ProxyIdentity(options, file, start.value);
  return new ProxyIdentity(options, file, await joined(start.why, stored, ticket, file, options));
}

type Start = {
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly agent: string;
  readonly tokenId: string;
  readonly svid: X509Svid;
  readonly bundles: readonly Bundle[];
};

/** A state file cut short is no reason to stay out where a token lets this proxy in again; an exposed one is. */
async function readStored(file: StateOf<ProxyState>, options: IdentityOptions): Promise<ProxyState | undefined> {
  try {
    return await file.read();
  } catch (error) {
    const isDamaged = error instanceof IsthmusError && (error.code === 'STATE_CORRUPT' || error.code === 'IDENTITY_STATE_CORRUPT');
    if (!isDamaged || options.token === undefined) throw error;
    options.log.warn('the stored identity is damaged, joining again', { error: messageOf(error) });
    return undefined;
  }
}

function refuseOther(stored: ProxyState, ticket: JoinTicket, stateDir: string): void {
  const isSame = stored.cluster === ticket.cluster && stored.federation === ticket.federation && stored.agent === ticket.agent;
  if (isSame) return;
  throw fail(
    'IDENTITY_STATE_MISMATCH',
    `${stateDir} is the identity of ${stored.agent} in ${stored.cluster}.${stored.federation}, the token is for ${ticket.agent} in ${ticket.trustDomain}`,
    { hint: 'use another state directory, or empty this one' },
  );
}

function resumed(stored: ProxyState | undefined, options: IdentityOptions): { readonly ok: true; readonly value: Start } | { readonly ok: false; readonly why: string } {
  if (stored === undefined) return { ok: false, why: `there is no identity in ${options.stateDir}` };
  const trustDomain = clusterTrustDomain(stored.cluster, stored.federation);
  const svid = svidFromState(stored.svid, stored.svid.spiffeId as SpiffeId);
  if (svid === undefined) return { ok: false, why: `the identity in ${options.stateDir} is damaged` };
  const bundle = stored.bundles.find((b) => b.trustDomain === trustDomain);
  const verdict = verifySvid({ chain: svid.chain, bundle, nowMs: options.clock.nowMs() });
  if (!verdict.ok) return { ok: false, why: `the identity in ${options.stateDir} is not valid: ${verdict.detail}` };
  const { cluster, agent, tokenId, bundles } = stored;
  return { ok: true, value: { cluster, federation: stored.federation as TrustDomain, agent, tokenId, svid, bundles } };
}

async function joined(why: string, stored: ProxyState | undefined, ticket: JoinTicket | undefined, file: StateOf<ProxyState>, options: IdentityOptions): Promise<Start> {
  const { clock, random, log } = options;
  if (ticket === undefined) throw fail('IDENTITY_NO_IDENTITY', `${why}, and no join token is configured`, { hint: 'make a join token and configure it' });
  if (stored?.tokenId === ticket.id) {
    throw fail('IDENTITY_NO_IDENTITY', `${why}, and the configured join token was spent for it`, { hint: 'make a new join token and configure it' });
  }
  const limitMs = options.joinTimeoutMs ?? 60_000;
  const granted = await untilReachable({ clock, random, log, limitMs, what: 'the control plane' }, () => requestJoin(ticket, joinOptions(options)));
  const start: Start = { cluster: ticket.cluster, federation: ticket.federation, agent: ticket.agent, tokenId: ticket.id, ...granted };
  await file.write(toState(start));
  log.info('joined the cluster', { cluster: ticket.cluster, spiffeId: granted.svid.spiffeId, tokenId: ticket.id });
  return start;
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
  private readonly serial = openSerial();
  private readonly lossReport: { close(): void };
  private readonly server: RpcChannel;
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
    this.svids = keepFresh({
      request: (signal) => this.renewOwn(signal),
      initial: start.svid,
      clock,
      random,
      log: log.with({ spiffeId: this.spiffeId }),
      requestTimeoutMs: this.timeoutMs * 3,
      onError: (error) => (this.lastError = messageOf(error)),
    });
    this.server = openChannel({
      address: options.server.address,
      serverName: serverNameOf(options.server, this.trustDomain),
      expectedId: spiffeIds.controlPlane(this.trustDomain),
      svids: this.svids,
      bundles: this.bundles,
      log,
    });
    this.services = openServiceSvids({
      stateDir,
      trustDomain: this.trustDomain,
      bundles: this.bundles,
      request: (spiffeId, service, signal) => this.requestService(spiffeId, service, signal),
      clock,
      random,
      log,
    });
    this.lossReport = reportIdentityLoss(options.metrics, clock, () => this.status().secondsToIdentityLoss);
  }

  serviceSvids(service: ServiceName): SvidSource {
    return this.services.get(service);
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
      services: this.services.list(),
      lastError: this.lastError,
    };
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.svids.close();
    this.services.close();
    this.lossReport.close();
    this.server.close();
    await this.serial(async () => undefined);
  }

  private get timeoutMs(): number {
    return this.options.requestTimeoutMs ?? CALL_TIMEOUT_MS;
  }

  private async renewOwn(signal: AbortSignal): Promise<X509Svid> {
    const ticket = this.mustJoinAgain ? this.unspentTicket() : undefined;
    const renewal = ticket === undefined ? requestRenewal(this.spiffeId, this.request(signal)) : this.joinAgain(ticket);
    const granted = await renewal.catch((error: unknown) => this.joinAfter(error));
    await this.take(granted);
    this.lastError = undefined;
    this.options.log.debug('own SVID renewed', { spiffeId: this.spiffeId, expiresAtMs: granted.svid.expiresAtMs });
    return granted.svid;
  }

  private async requestService(spiffeId: SpiffeId, service: ServiceName, signal: AbortSignal): Promise<X509Svid> {
    try {
      const granted = await requestService(spiffeId, service, this.request(signal));
      for (const bundle of granted.bundles) this.bundles.update(bundle);
      return granted.svid;
    } catch (error) {
      // A service that the entry does not list may be listed by a newer token: joining with it makes the entry anew.
      if (classOf(error) === 'denied' && this.unspentTicket() !== undefined) {
        this.mustJoinAgain = true;
        await this.svids.renewNow();
      }
      throw error;
    }
  }

  /** Renewal was refused or this SVID has run out: a token that was not spent here yet lets this proxy in again. */
  private async joinAfter(refusal: unknown): Promise<Granted> {
    const isExpired = (this.svids.current()?.expiresAtMs ?? 0) <= this.options.clock.nowMs();
    const isRefused = classOf(refusal) === 'denied' || classOf(refusal) === 'unauthenticated';
    const ticket = this.unspentTicket();
    if (ticket === undefined || !(isRefused || isExpired)) throw refusal;
    return this.joinAgain(ticket);
  }

  private async joinAgain(ticket: JoinTicket): Promise<Granted> {
    this.mustJoinAgain = false;
    const granted = await requestJoin(ticket, joinOptions(this.options));
    this.tokenId = ticket.id;
    this.options.log.info('joined again with a new token', { spiffeId: this.spiffeId, tokenId: ticket.id });
    return granted;
  }

  private unspentTicket(): JoinTicket | undefined {
    if (this.options.token === undefined) return undefined;
    const ticket = readJoinToken(this.options.token);
    return ticket.id === this.tokenId ? undefined : ticket;
  }

  private async take(granted: Granted): Promise<void> {
    for (const bundle of granted.bundles) this.bundles.update(bundle);
    for (const { trustDomain } of this.bundles.all()) {
      if (trustDomain !== this.trustDomain && !granted.bundles.some((b) => b.trustDomain === trustDomain)) this.bundles.remove(trustDomain);
    }
    const { cluster, federation, agent, tokenId } = this;
    const state = toState({ cluster, federation, agent, tokenId, svid: granted.svid, bundles: this.bundles.all() });
    // A full disk must not cost the proxy its identity: the one on disk is good for a restart until it ends.
    await this.serial(() => this.file.write(state)).catch((error: unknown) => {
      this.options.log.error('the new SVID is kept in memory only', { error: messageOf(error) });
    });
  }

  private request(signal: AbortSignal): ChannelRequest {
    const { keyKind, log, clock } = this.options;
    return { channel: this.server, bundles: this.bundles, keyKind, timeoutMs: this.timeoutMs, signal, log, nowMs: () => clock.nowMs() };
  }
}

function joinOptions(options: IdentityOptions) {
  const { server, keyKind, log, clock } = options;
  return { server, keyKind, timeoutMs: options.requestTimeoutMs ?? CALL_TIMEOUT_MS, log, nowMs: () => clock.nowMs() };
}

function toState(start: Start): ProxyState {
  const { cluster, federation, agent, tokenId, svid, bundles } = start;
  return { version: 1, cluster, federation, agent, tokenId, svid: svidToState(svid), bundles: [...bundles] };
}

function classOf(error: unknown): ErrorClass | undefined {
  return error instanceof IsthmusError ? error.class : undefined;
}
