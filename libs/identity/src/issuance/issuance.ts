// Issuing SVIDs to agents and gateways: join by attestation, renew by the SVID itself, services by entry.
import { createHash, X509Certificate } from 'node:crypto';
import {
  type Entry,
  formatServiceName,
  isDnsLabel,
  IsthmusError,
  type JoinRole,
  type JoinToken,
  messageOf,
  quote,
  roleOf,
  type ServiceName,
  type SpiffeId,
  spiffeIds,
} from '@isthmus/model';
import { CLOCK_SKEW_MS, holderTag, readSvidSerial } from '@isthmus/pki';
import { type Caller, callerOf, handleUnary, identity } from '@isthmus/rpc';
import { type Clock, systemRandom } from '@isthmus/runtime';
import type { Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import { type AttemptLimit, openAttemptLimit } from '../attest/attempt-limit.ts';
import { type Attestation, type AttestationConfig, openAttestation } from '../attest/attestation.ts';
import type { CallFacts, Verdict } from '../attest/attestor.ts';
import { evidenceOf, methodOf } from '../attest/evidence.ts';
import { sweepUsedEvidence } from '../attest/used.ts';
import type { Authority } from '../authority/authority.ts';
import { checkAudience } from '../audience.ts';
import { publicKeyOf } from '../csr.ts';
import { fail } from '../errors.ts';
import { openRateLimit } from '../rate-limit.ts';
import { bundleToWire } from '../wire.ts';
import { type Bans, type BansOptions, openBans } from './bans.ts';
import { type EntryStore, openEntryStore } from './entries.ts';
import { type IssuanceQueue, type IssuanceQueueOptions, openIssuanceQueue } from './issuance-queue.ts';
import { type CreatedJoinToken, type JoinTokenRequest, openTokenStore, type TokenFence, type TokenStore } from './join-tokens.ts';
import type { SerialChain } from './serial-chain.ts';
import { withEntryRecords, withTokenRecords } from './recorded.ts';
import { openUnspentTokens, type UnspentTokens } from './unspent-tokens.ts';

export type IssuanceOptions = {
  readonly authority: Authority;
  readonly store: Store;
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** The ways in besides the join token. None by default. */
  readonly attestation?: AttestationConfig | undefined;
  /** Certificates one caller may have at once and a second. Default 200 and 50. */
  readonly rate?: { readonly burst: number; readonly perSecond: number };
  /** Where `openBans` was called: what it refuses is not issued. */
  readonly bans?: Pick<Bans, 'refuses'>;
  /** Bounds of those who are served at once and who wait. */
  readonly queue?: Pick<IssuanceQueueOptions, 'maxRunning' | 'maxWaiting' | 'maxWaitMs'> | undefined;
};

/** An entry, with how often, when and from where its identity was used by a second holder. */
export type ListedEntry = Entry & Partial<Pick<SerialChain, 'clones' | 'clonedAtMs' | 'clonedFrom'>>;

export interface Issuance {
  /** For `startRpcServer({ services: [issuance] })`. */
  readonly definition: typeof identity.IssuanceService;
  readonly implementation: identity.IssuanceServer;
  /** **Throws** IDENTITY_TOKEN_INVALID naming every wrong field; STORE_*. */
  createJoinToken(request: JoinTokenRequest, fence?: TokenFence): Promise<CreatedJoinToken>;
  /** Checks what a token would be made of, and makes none. **Throws** IDENTITY_TOKEN_INVALID. */
  checkJoinToken(request: JoinTokenRequest): void;
  /** Tokens that are not deleted, used and expired ones among them; no secrets but their hashes. */
  listJoinTokens(): Promise<readonly JoinToken[]>;
  /** **Throws** IDENTITY_TOKEN_NOT_FOUND. */
  deleteJoinToken(id: string): Promise<void>;
  /** Who has joined. */
  listEntries(): Promise<readonly ListedEntry[]>;
  /** Takes an agent's or gateway's right to renew; its SVID runs out. Whether there was such an entry. */
  deleteEntry(role: JoinRole, agent: string): Promise<boolean>;
  /** Lets an agent that was removed, or an instance that may join once only, attest again. Whether there was anything to let in. */
  readmit(agent: string): Promise<boolean>;
  /** Whether `readmit` would let anything in. */
  isBarred(agent: string): Promise<boolean>;
  /** Whether this agent's entry lists this service: asked for issuing, and for reports of workloads. */
  mayServe(agent: string, service: ServiceName): Promise<boolean>;
  /** Ends what attestation fetches and sweeps. */
  close(): Promise<void>;
}

type Call<Req> = { readonly request: Req; getPeer(): string };

/** Serves issuance from this authority, with tokens and entries in this store. **Throws** IDENTITY_ATTESTATION_CONFIG. */
export function serveIssuance(options: IssuanceOptions): Issuance {
  const { log } = options;
  const { tokens, entries } = recordedStores(options);
  const attestation = openAttestation(options.attestation ?? {}, { ...options, tokens, trustDomain: options.authority.trustDomain });
  const sweeper = sweepUsedEvidence(options);
  const issuer = new Issuer(options, entries, attestation, openUnspentTokens(tokens, options.clock));
  return {
    definition: identity.IssuanceService,
    implementation: {
      join: handleUnary((_request, call) => issuer.join(call), log),
      challenge: handleUnary((_request, call) => issuer.challenge(call), log),
      renew: handleUnary((_request, call) => issuer.renew(call), log),
      issueService: handleUnary((_request, call) => issuer.issueService(call), log),
      issueJwtSvid: handleUnary((_request, call) => issuer.issueJwtSvid(call), log),
    },
    createJoinToken: (request, fence) => tokens.create(request, fence),
    checkJoinToken: (request) => tokens.check(request),
    listJoinTokens: () => tokens.list(),
    deleteJoinToken: (id) => tokens.remove(id),
    async listEntries() {
      const [all, clones] = await Promise.all([entries.list(), entries.clones()]);
      return all.map((entry) => ({ ...entry, ...(entry.role === 'agent' && clonesOf(clones.get(entry.agent))) }));
    },
    deleteEntry: (role, agent) => entries.remove(role, agent),
    readmit: (agent) => entries.readmit(agent),
    isBarred: (agent) => entries.isBarred(agent),
    mayServe: (agent, service) => issuer.mayServe(agent, service),
    async close() {
      issuer.close();
      await Promise.all([sweeper.close(), attestation.close()]);
    },
  };
}

/** A person's working day: nothing renews an operator's SVID while no command runs. */
const OPERATOR_TTL_MS = 12 * 3_600_000;

/** Tokens and entries, each change of them with its record. */
function recordedStores(options: Pick<IssuanceOptions, 'authority' | 'store' | 'cluster' | 'clock' | 'log'>): { readonly tokens: TokenStore; readonly entries: EntryStore } {
  const { ledger } = options.authority;
  return { tokens: withTokenRecords(openTokenStore(options), ledger), entries: withEntryRecords(openEntryStore(options), ledger) };
}

/** The cluster's bans, and with them its tokens and entries. **Throws** STORE_*. */
export function openClusterBans(options: BansOptions): Promise<Bans> {
  return openBans(options, recordedStores(options));
}

class Issuer {
  private readonly options: IssuanceOptions;
  private readonly entries: EntryStore;
  private readonly attestation: Attestation;
  private readonly limit;
  private readonly attempts: AttemptLimit;
  private readonly unspent: UnspentTokens;
  private readonly queue: IssuanceQueue;
  private readonly issued;
  private readonly waiting;
  private readonly cloned;
  private readonly refused;

  constructor(options: IssuanceOptions, entries: EntryStore, attestation: Attestation, unspent: UnspentTokens) {
    const { clock, metrics, rate = { burst: 200, perSecond: 50 } } = options;
    this.options = options;
    this.entries = entries;
    this.attestation = attestation;
    this.unspent = unspent;
    this.limit = openRateLimit({ ...rate, clock });
    this.attempts = openAttemptLimit(clock, rate);
    this.queue = openIssuanceQueue({ clock, random: systemRandom, ...options.queue });
    this.waiting = metrics.gauge('isthmus_identity_queue_waiting', 'Requests for an SVID that wait for their turn');
    this.issued = metrics.counter('isthmus_identity_issued_total', 'SVIDs signed for callers, by what they asked for', ['kind']);
    this.cloned = metrics.counter('isthmus_identity_clones_total', 'Renewals by an SVID that another holder had renewed already, by what was done (flagged, refused)', ['outcome']);
    this.refused = metrics.counter('isthmus_identity_refused_total', 'Requests for an SVID that were refused, by code', ['kind', 'reason']);
  }

  /** Evidence becomes an entry and an SVID; the certificate leaves only after the evidence is used up durably. */
  join(call: Call<identity.JoinRequest>): Promise<identity.SvidResponse> {
    const facts: CallFacts = { address: hostOf(call.getPeer()), connection: call.getPeer(), csrSha256: createHash('sha256').update(call.request.csr).digest() };
    const method = methodOf(call.request);
    return this.judged('join', facts.address, async (askedAtMs) => {
      try {
        await this.enter(facts, call.request);
        const verdict = await this.attestation.attest(evidenceOf(call.request), facts);
        // Who has no identity yet is like one whose identity ends now.
        const response = await this.queue.run(this.options.clock.nowMs(), () => this.admitted(verdict, call.request.csr, askedAtMs));
        this.attestation.audit(method, facts, { verdict });
        return response;
      } catch (error) {
        // What is away, or was held back here, is not the joiner's fault.
        if (error instanceof IsthmusError && ['unauthenticated', 'invalid', 'denied'].includes(error.class)) this.attempts.failed(facts);
        this.attestation.audit(method, facts, { error });
        throw error;
      }
    });
  }

  /** All who come through one gateway share its address: while that is held back, who shows a token that could be spent goes on. */
  private async enter(facts: CallFacts, { evidence }: identity.JoinRequest): Promise<void> {
    try {
      this.attempts.enter(facts);
    } catch (error) {
      const isOthersFault = error instanceof IsthmusError && error.facts['by'] === 'address' && evidence?.$case === 'token';
      if (!isOthersFault || !(await this.unspent.has(evidence.value))) throw error;
    }
  }

  close(): void {
    this.queue.close();
  }

  private async admitted(verdict: Verdict, csr: Uint8Array, askedAtMs: number): Promise<identity.SvidResponse> {
    await this.entries.check(verdict);
    const { agent, role } = verdict;
    const { trustDomain } = this.options.authority;
    const response = role === 'gateway'
      ? this.sign(csr, spiffeIds.gateway(trustDomain), askedAtMs, spiffeIds.gatewayHolder(trustDomain, agent))
      : this.sign(csr, role === 'operator' ? spiffeIds.operator(trustDomain, agent) : spiffeIds.agent(trustDomain, agent), askedAtMs);
    await this.entries.admit(verdict, serialOf(response.chain[0] ?? Buffer.alloc(0)));
    return response;
  }

  /** A nonce costs little, but counts as an attempt: whoever asks for many is held back as for joining. */
  async challenge(call: Call<identity.ChallengeRequest>): Promise<identity.ChallengeResponse> {
    this.attempts.enter({ address: hostOf(call.getPeer()), connection: call.getPeer() });
    const { nonce, lifeMs } = this.attestation.challenge(call.getPeer());
    return { nonce, lifeSeconds: Math.floor(lifeMs / 1_000) };
  }

  /** The SVID in hand is the right to the next one: it must still be good, and not have been renewed by another. */
  renew(call: Call<identity.RenewRequest>): Promise<identity.SvidResponse> {
    const caller = this.callerOf(call);
    return this.judged('renew', caller?.spiffeId ?? 'nobody', async (askedAtMs) => {
      if (caller === undefined) throw fail('IDENTITY_DENIED', 'this call needs a client certificate of this cluster');
      if (caller.expiresAtMs + CLOCK_SKEW_MS < this.options.clock.nowMs()) throw fail('IDENTITY_DENIED', `the SVID of ${caller.spiffeId} has run out since this connection began`);
      return this.queue.run(caller.expiresAtMs, () => this.renewed(caller, call, askedAtMs));
    });
  }

  private async renewed({ spiffeId, serial }: Caller, call: Call<identity.RenewRequest>, askedAtMs: number): Promise<identity.SvidResponse> {
    const response = this.sign(call.request.csr, spiffeId, askedAtMs, await this.requireEntry(spiffeId, serial));
    const role = roleOf(spiffeId);
    if (role.kind === 'agent') await this.refuseClone(role.agent, serial, response, hostOf(call.getPeer()));
    return response;
  }

  private async refuseClone(agent: string, presented: string, { chain: [leaf] }: identity.SvidResponse, address: string): Promise<void> {
    const { isClone, chain } = await this.entries.renewed(agent, presented, leaf === undefined ? '0' : serialOf(leaf), address);
    if (!isClone) return;
    const isBlocked = this.options.attestation?.clones === 'block';
    this.cloned.inc({ outcome: isBlocked ? 'refused' : 'flagged' });
    this.options.log.error('audit', { event: 'clone', outcome: isBlocked ? 'refused' : 'flagged', agent, serial: presented, times: chain.clones ?? 1, address });
    if (!isBlocked) return;
    throw fail('IDENTITY_CLONED', `the SVID of agent ${agent} was renewed by another holder already`, {
      hint: `find out which machine is the right one; \`isthmus agent remove ${agent}\` stops both, a new token lets one in`,
    });
  }

  issueService(call: Call<identity.IssueServiceRequest>): Promise<identity.SvidResponse> {
    const caller = this.callerOf(call);
    const { namespace, service: name } = call.request;
    return this.judged('service', caller?.spiffeId ?? 'nobody', (askedAtMs) =>
      this.queue.run(caller?.expiresAtMs ?? Infinity, async () => this.sign(call.request.csr, await this.serviceFor(caller?.spiffeId, namespace, name), askedAtMs, caller?.spiffeId)),
    );
  }

  issueJwtSvid(call: Call<identity.IssueJwtSvidRequest>): Promise<identity.JwtSvidResponse> {
    const caller = this.callerOf(call)?.spiffeId;
    const { namespace, service, audience } = call.request;
    return this.judged('jwt', caller ?? 'nobody', async () => {
      const spiffeId = await this.serviceFor(caller, namespace, service);
      checkAudience(audience);
      const { token, expiresAtMs } = await this.options.authority.signJwt({ spiffeId, audience });
      const own = this.options.authority.bundles.get(this.options.authority.trustDomain);
      return { token, expiresAtMs: BigInt(expiresAtMs), bundles: own === undefined ? [] : [bundleToWire(own)] };
    });
  }

  /** The ID of a service that the calling agent's entry lists. **Throws** IDENTITY_DENIED. */
  private async serviceFor(caller: SpiffeId | undefined, namespace: string, name: string): Promise<SpiffeId> {
    const role = caller === undefined ? undefined : roleOf(caller);
    if (caller === undefined || role?.kind !== 'agent') throw fail('IDENTITY_DENIED', 'only an agent of this cluster gets service identities');
    if (!isDnsLabel(namespace) || !isDnsLabel(name)) throw fail('IDENTITY_DENIED', `${quote(`${namespace}/${name}`)} is no service name`);
    const service: ServiceName = { namespace, name };
    if (!(await this.mayServe(role.agent, service))) {
      throw fail('IDENTITY_DENIED', `agent ${role.agent} may not have the identity of ${formatServiceName(service)}`, {
        hint: 'make a join token that lists the service, and join with it',
      });
    }
    const spiffeId = spiffeIds.service(this.options.authority.trustDomain, service);
    if (this.options.bans?.refuses(spiffeId) === true) throw fail('IDENTITY_DENIED', `${spiffeId} is banned`, { hint: '`isthmus ban list` says since when and why' });
    return spiffeId;
  }

  async mayServe(agent: string, service: ServiceName): Promise<boolean> {
    const entry = await this.entries.get('agent', agent);
    return entry?.services.includes(formatServiceName(service)) ?? false;
  }

  /** The caller by its certificate, where it is of this cluster's trust domain. */
  private callerOf(call: Call<unknown>): Caller | undefined {
    const caller = callerOf(call);
    return caller?.trustDomain === this.options.authority.trustDomain ? caller : undefined;
  }

  /** Whom the next SVID is for: the caller, or the one gateway it is, by its serial number. **Throws** IDENTITY_DENIED for who has no entry. */
  private async requireEntry(caller: SpiffeId, serial: string): Promise<SpiffeId> {
    const role = roleOf(caller);
    if (role.kind === 'agent' && (await this.entries.get('agent', role.agent)) !== undefined) return caller;
    if (role.kind === 'operator' && (await this.entries.get('operator', role.operator)) !== undefined) return caller;
    const gateway = role.kind === 'gateway' ? await this.gatewayOf(caller, serial) : undefined;
    if (gateway !== undefined) return gateway;
    throw fail('IDENTITY_DENIED', `${caller} has no entry any more`, { hint: 'join again with a new token, or readmit it' });
  }

  /** Gateways share one ID; the serial number tells them apart. One from before it did is any gateway, while there is one. */
  private async gatewayOf(caller: SpiffeId, serial: string): Promise<SpiffeId | undefined> {
    const { trustDomain } = this.options.authority;
    const holders = (await this.entries.gateways()).map((name) => spiffeIds.gatewayHolder(trustDomain, name));
    const presented = readSvidSerial(serial)?.holder;
    if (presented !== holderTag(caller)) return holders.find((holder) => holderTag(holder) === presented);
    return holders.length === 1 ? holders[0] : holders.length === 0 ? undefined : caller;
  }

  /** `holder` is who asks, where that is another than the ID: an agent for a service, one gateway of several. */
  private sign(csr: Uint8Array, spiffeId: SpiffeId, askedAtMs: number, holder: SpiffeId = spiffeId): identity.SvidResponse {
    const { authority } = this.options;
    const ttlMs = roleOf(spiffeId).kind === 'operator' ? { ttlMs: OPERATOR_TTL_MS } : {};
    const { chain } = authority.sign({ publicKey: publicKeyOf(csr, spiffeId), spiffeId, holder, askedAtMs, ...ttlMs });
    return { chain: [...chain], bundles: authority.bundles.all().map(bundleToWire) };
  }

  private async judged<T>(kind: 'join' | 'renew' | 'service' | 'jwt', caller: string, issue: (askedAtMs: number) => Promise<T>): Promise<T> {
    try {
      if (kind !== 'join' && !this.limit.take(`${kind === 'jwt' ? 'jwt' : 'svid'} ${caller}`)) throw fail('IDENTITY_RATE_LIMITED', `${caller} asked for too many certificates`);
      const response = await issue(this.options.clock.nowMs());
      this.issued.inc({ kind });
      return response;
    } catch (error) {
      const reason = error instanceof IsthmusError ? error.code : 'internal';
      this.refused.inc({ kind, reason });
      // The one audit line of a refusal: who, what and why; neither token nor key. A join’s has more to say and is written there.
      if (kind !== 'join') this.options.log.warn('identity refused', { kind, caller, code: reason, reason: messageOf(error) });
      throw error;
    } finally {
      this.waiting.set(this.queue.waiting);
    }
  }
}

function clonesOf(chain: SerialChain | undefined): Partial<Pick<SerialChain, 'clones' | 'clonedAtMs' | 'clonedFrom'>> {
  if (chain?.clones === undefined) return {};
  const { clones, clonedAtMs, clonedFrom } = chain;
  return { clones, ...(clonedAtMs !== undefined && { clonedAtMs }), ...(clonedFrom !== undefined && { clonedFrom }) };
}

function serialOf(leaf: Uint8Array): string {
  return new X509Certificate(leaf).serialNumber;
}

/** `10.0.0.1` of `10.0.0.1:4711`, `::1` of `[::1]:4711`. */
function hostOf(peer: string): string {
  return peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}
