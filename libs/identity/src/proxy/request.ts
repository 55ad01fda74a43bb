// A proxy's calls to its control plane: each makes a new key here, and takes no SVID that a peer would not take.
import { type Bundle, reservedSni, roleOf, type ServiceName, type SpiffeId, spiffeIds, type TrustDomain, trustDomainOf } from '@isthmus/model';
import { type BundleSource, generateKey, type KeyKind, makeCsr, makeX509Svid, openBundleSet, verifySvid, type X509Svid } from '@isthmus/pki';
import { call, fetchPinnedRoot, identity, openChannel, type RpcChannel } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { bundleFromWire, readable } from '../wire.ts';
import { presented } from './evidence.ts';
import type { JwtSvid } from './jwt-svids.ts';
import type { JoinTicket } from './ticket.ts';

export type Granted = { readonly svid: X509Svid; readonly bundles: readonly Bundle[] };

export type ServerAddress = { readonly address: string; readonly serverName?: string | undefined };

export function serverNameOf(server: ServerAddress, trustDomain: TrustDomain): string {
  return server.serverName ?? reservedSni('control-plane', trustDomain);
}

/** The name is the one the evidence stands for: the agent's own, or the one the control plane gave it. */
export type Joined = Granted & { readonly agent: string };

export type JoinOptions = {
  readonly server: ServerAddress;
  readonly keyKind: KeyKind | undefined;
  readonly timeoutMs: number;
  readonly log: Log;
  readonly nowMs: () => number;
  /** Roots known besides the pinned ones: a stored bundle's, which a rotation may have made newer than the pins. */
  readonly knownRootsSha256?: readonly string[];
};

/**
 * Joins with a ticket; the server must chain to a pinned root and be this trust domain's control plane before it sees
 * any evidence. **Throws** the control plane's refusal, IDENTITY_EVIDENCE_MISSING, IDENTITY_PARENT_REFUSED, RPC_*.
 */
export async function requestJoin(ticket: JoinTicket, options: JoinOptions): Promise<Joined> {
  const { trustDomain } = ticket;
  const { address } = options.server;
  const serverName = serverNameOf(options.server, trustDomain);
  const pinsSha256 = [...ticket.pinsSha256, ...(options.knownRootsSha256 ?? [])];
  const root = await fetchPinnedRoot({ address, serverName, pinsSha256, timeoutMs: options.timeoutMs });
  const pinned: Bundle = { trustDomain, sequence: 0, refreshHintSeconds: 300, x509Authorities: [root.toString('base64')] };
  const channel = openChannel({ address, serverName, expectedId: spiffeIds.controlPlane(trustDomain), bundles: openBundleSet([pinned]), log: options.log });
  try {
    const key = generateKey(options.keyKind);
    const csr = makeCsr({ key, spiffeId: ticket.spiffeId });
    const client = channel.client(identity.IssuanceClient);
    const evidence = await presented(ticket, csr, client, options.timeoutMs);
    const answer = await call(client.join.bind(client), { evidence, csr }, { timeoutMs: options.timeoutMs });
    const bundles = bundlesOf(answer, options.log);
    const own = bundles.find((b) => b.trustDomain === trustDomain);
    if (own === undefined || !own.x509Authorities.includes(root.toString('base64'))) {
      throw fail('IDENTITY_PARENT_REFUSED', `the control plane’s bundle for ${trustDomain} does not hold the pinned root`);
    }
    const made = makeX509Svid(chainOf(answer), key);
    const expected = ticket.spiffeId ?? made.spiffeId;
    return { svid: checked(made, expected, own, options.nowMs()), bundles, agent: ticket.agent ?? agentNamed(expected, trustDomain) };
  } finally {
    channel.close();
  }
}

/** What the control plane called this proxy: an agent or a gateway of its own trust domain, and nothing else. */
function agentNamed(spiffeId: SpiffeId, trustDomain: TrustDomain): string {
  const role = roleOf(spiffeId);
  if (trustDomainOf(spiffeId) === trustDomain && role.kind === 'agent') return role.agent;
  if (spiffeId === spiffeIds.gateway(trustDomain)) return 'gateway';
  throw fail('IDENTITY_PARENT_REFUSED', `the control plane made this ${spiffeId}, which is no agent or gateway of ${trustDomain}`);
}

export type ChannelRequest = {
  readonly channel: RpcChannel;
  readonly bundles: BundleSource;
  readonly keyKind: KeyKind | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly nowMs: () => number;
};

/** Renews the caller's own SVID. */
export function requestRenewal(spiffeId: SpiffeId, options: ChannelRequest): Promise<Granted> {
  const client = options.channel.client(identity.IssuanceClient);
  return request(spiffeId, options, (csr) => call(client.renew.bind(client), { csr }, { timeoutMs: options.timeoutMs, signal: options.signal }));
}

/** Gets the SVID of a service. */
export function requestService(spiffeId: SpiffeId, service: ServiceName, options: ChannelRequest): Promise<Granted> {
  const client = options.channel.client(identity.IssuanceClient);
  return request(spiffeId, options, (csr) =>
    call(client.issueService.bind(client), { csr, namespace: service.namespace, service: service.name }, { timeoutMs: options.timeoutMs, signal: options.signal }),
  );
}

/** Gets a JWT-SVID of a service, with the bundle its key is in; neither is checked here. */
export async function requestJwt(
  channel: RpcChannel,
  service: ServiceName,
  audience: readonly string[],
  options: { readonly timeoutMs: number; readonly log: Log },
): Promise<{ readonly svid: JwtSvid; readonly bundles: readonly Bundle[] }> {
  const client = channel.client(identity.IssuanceClient);
  const request = { namespace: service.namespace, service: service.name, audience: [...audience] };
  const answer = await call(client.issueJwtSvid.bind(client), request, options);
  return { svid: { token: answer.token, expiresAtMs: Number(answer.expiresAtMs) }, bundles: bundlesOf(answer, options.log) };
}

async function request(spiffeId: SpiffeId, options: ChannelRequest, send: (csr: Buffer) => Promise<identity.SvidResponse>): Promise<Granted> {
  const key = generateKey(options.keyKind);
  const answer = await send(makeCsr({ key, spiffeId }));
  const bundles = bundlesOf(answer, options.log);
  const known = options.bundles.get(trustDomainOf(spiffeId));
  // The answer may be of a root that this proxy has not been told of otherwise yet.
  const told = bundles.find((b) => b.trustDomain === known?.trustDomain);
  const own = told !== undefined && known !== undefined && told.sequence > known.sequence ? told : known;
  return { svid: checked(makeX509Svid(chainOf(answer), key), spiffeId, own, options.nowMs()), bundles };
}

/** **Throws** IDENTITY_PARENT_REFUSED when a peer would not take this SVID, or would take it for another's. */
function checked(svid: X509Svid, spiffeId: SpiffeId, bundle: Bundle | undefined, nowMs: number): X509Svid {
  const verdict = verifySvid({ chain: svid.chain, bundle, nowMs });
  if (!verdict.ok) throw fail('IDENTITY_PARENT_REFUSED', `the SVID issued for ${spiffeId} does not verify: ${verdict.detail}`, { facts: { reason: verdict.reason } });
  if (verdict.spiffeId !== spiffeId) throw fail('IDENTITY_PARENT_REFUSED', `an SVID for ${verdict.spiffeId} was issued instead of ${spiffeId}`);
  return svid;
}

function chainOf(answer: identity.SvidResponse): Buffer[] {
  if (answer.chain.length === 0) throw fail('IDENTITY_PARENT_REFUSED', 'the control plane answered without a certificate');
  return answer.chain.map((der) => Buffer.from(der));
}

function bundlesOf(answer: Pick<identity.SvidResponse, 'bundles'>, log: Log): Bundle[] {
  return readable(answer.bundles, bundleFromWire, (problems) => log.warn('a bundle in an answer is refused', { problems }));
}
