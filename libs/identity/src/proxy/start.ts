// How a proxy begins: from the identity on disk while that is valid, else by its join token or its platform's evidence.
import { join } from 'node:path';
import { type Bundle, clusterTrustDomain, IsthmusError, messageOf, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { type KeyKind, sha256Hex, verifySvid, type X509Svid } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { openJsonState, type StateOf } from '../state.ts';
import { untilReachable } from '../until-reachable.ts';
import { type JoinOptions, requestJoin } from './request.ts';
import { MAX_PROXY_BYTES, parseProxyState, type ProxyState, svidFromState, svidToState } from './state.ts';
import { attestationTicket, type JoinTicket, type ProxyAttestation, readJoinToken } from './ticket.ts';

export const CALL_TIMEOUT_MS = 10_000;

export type IdentityOptions = {
  /** Directory of keys, SVIDs and bundles, mode 0700. */
  readonly stateDir: string;
  /** The one-time join token; used where the stored identity is not valid, or its renewal is refused. */
  readonly token?: string | undefined;
  /** What is attested with instead of a token; used again whenever the SVID ran out or its renewal is refused. */
  readonly attestation?: ProxyAttestation | undefined;
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

/** **Throws** IDENTITY_NO_IDENTITY, IDENTITY_TOKEN_REFUSED, IDENTITY_ATTESTATION_REFUSED, IDENTITY_ATTESTATION_CONFIG, IDENTITY_STATE_MISMATCH, RPC_*, STATE_*. */
export async function startOf(options: IdentityOptions): Promise<{ readonly start: Start; readonly file: StateOf<ProxyState> }> {
  if (options.token !== undefined && options.attestation !== undefined) {
    throw fail('IDENTITY_ATTESTATION_CONFIG', 'both a join token and `attestation` are configured', { hint: 'keep one of them' });
  }
  const file = openJsonState(join(options.stateDir, 'identity.state'), parseProxyState, MAX_PROXY_BYTES);
  const stored = await readStored(file, options);
  const ticket = ticketOf(options);
  if (stored !== undefined && ticket !== undefined) refuseOther(stored, ticket, options.stateDir);
  const found = resumed(stored, options);
  return { start: found.ok ? found.value : await joined(found.why, stored, ticket, file, options), file };
}

/** What this proxy may join with now. **Throws** IDENTITY_TOKEN_REFUSED for garbage. */
export function ticketOf({ token, attestation }: Pick<IdentityOptions, 'token' | 'attestation'>): JoinTicket | undefined {
  if (attestation !== undefined) return attestationTicket(attestation);
  return token === undefined ? undefined : readJoinToken(token);
}

export type Start = {
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
    if (!isDamaged || (options.token === undefined && options.attestation === undefined)) throw error;
    options.log.warn('the stored identity is damaged, joining again', { error: messageOf(error) });
    return undefined;
  }
}

function refuseOther(stored: ProxyState, ticket: JoinTicket, stateDir: string): void {
  const isSameAgent = ticket.agent === undefined || stored.agent === ticket.agent;
  if (stored.cluster === ticket.cluster && stored.federation === ticket.federation && isSameAgent) return;
  throw fail(
    'IDENTITY_STATE_MISMATCH',
    `${stateDir} is the identity of ${stored.agent} in ${stored.cluster}.${stored.federation}, ${ticket.agent === undefined ? 'the configuration says' : `the token is for ${ticket.agent} in`} ${ticket.trustDomain}`,
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
  if (!ticket.isRepeatable && stored?.tokenId === ticket.id) {
    throw fail('IDENTITY_NO_IDENTITY', `${why}, and the configured join token was spent for it`, { hint: spentHint(stored.agent) });
  }
  await file.checkWritable();
  const limitMs = options.joinTimeoutMs ?? 60_000;
  const knownRootsSha256 = rootsOf(stored?.bundles ?? [], ticket.trustDomain);
  const granted = await untilReachable({ clock, random, log, limitMs, what: 'the control plane' }, () => requestJoin(ticket, { ...joinOptions(options), knownRootsSha256 }));
  const start: Start = { cluster: ticket.cluster, federation: ticket.federation, tokenId: ticket.id, ...granted };
  await file.write(toState(start));
  log.info('joined the cluster', { cluster: ticket.cluster, spiffeId: granted.svid.spiffeId, method: ticket.evidence.method, tokenId: ticket.id });
  return start;
}

/** What a person does for a proxy that a token let in and that cannot attest again by itself. */
export function spentHint(agent: string): string {
  return `a token is good once: run \`isthmus token create ${agent}\` with its --service names at the cluster’s control plane, configure the new token, and restart this`;
}

/** Fingerprints of the roots a stored bundle of this trust domain holds. */
export function rootsOf(bundles: readonly Bundle[], trustDomain: TrustDomain): string[] {
  return bundles.filter((b) => b.trustDomain === trustDomain).flatMap((b) => b.x509Authorities.map((der) => sha256Hex(Buffer.from(der, 'base64'))));
}

export function joinOptions(options: IdentityOptions): JoinOptions {
  const { server, keyKind, log, clock } = options;
  return { server, keyKind, timeoutMs: options.requestTimeoutMs ?? CALL_TIMEOUT_MS, log, nowMs: () => clock.nowMs() };
}

export function toState(start: Start): ProxyState {
  const { cluster, federation, agent, tokenId, svid, bundles } = start;
  return { version: 1, cluster, federation, agent, tokenId, svid: svidToState(svid), bundles: [...bundles] };
}
