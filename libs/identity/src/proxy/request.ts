// A proxy's calls to its control plane: each makes a new key here, and takes no SVID that a peer would not take.
import { formatProblems, reservedSni, type ServiceName, type SpiffeId, spiffeIds, type TrustDomain, trustDomainOf, type Bundle } from '@isthmus/model';
import { type BundleSource, generateKey, type KeyKind, makeCsr, makeX509Svid, openBundleSet, parseToken, verifySvid, type X509Svid } from '@isthmus/pki';
import { call, fetchPinnedRoot, identity, openChannel, type RpcChannel } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { tokenId, tokenRefused } from '../token.ts';
import { bundleFromWire, readable } from '../wire.ts';
import type { JwtSvid } from './jwt-svids.ts';

/** What a join token says: whom it is for, and by what root the one who takes it is known. */
export type JoinTicket = {
  readonly token: string;
  readonly id: string;
  readonly pinSha256: string;
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  readonly agent: string;
  readonly spiffeId: SpiffeId;
};

export type Granted = { readonly svid: X509Svid; readonly bundles: readonly Bundle[] };

/** **Throws** IDENTITY_TOKEN_REFUSED for garbage and for a cluster's bootstrap token. */
export function readJoinToken(text: string): JoinTicket {
  const read = parseToken(text);
  if (!read.ok) throw tokenRefused(`it is garbage: ${formatProblems(read.problems)}`);
  const { prefix, fields, pinSha256, secretSha256 } = read.value;
  const { cluster, federation, agent, role } = fields;
  if (prefix !== 'ijt') throw tokenRefused('it is a cluster’s bootstrap token, not a join token');
  if (cluster === undefined || federation === undefined || agent === undefined || role === undefined) throw tokenRefused('it is garbage: it does not say whom it is for');
  const trustDomain = `${cluster}.${federation}` as TrustDomain;
  const spiffeId = role === 'gateway' ? spiffeIds.gateway(trustDomain) : role === 'operator' ? spiffeIds.operator(trustDomain, agent) : spiffeIds.agent(trustDomain, agent);
  return { token: text, id: tokenId(secretSha256), pinSha256, cluster, federation: federation as TrustDomain, trustDomain, agent, spiffeId };
}

export type ServerAddress = { readonly address: string; readonly serverName?: string | undefined };

export function serverNameOf(server: ServerAddress, trustDomain: TrustDomain): string {
  return server.serverName ?? reservedSni('control-plane', trustDomain);
}

/** Joins by token; the server must chain to the pinned root and be this trust domain's control plane before it gets the token. */
export async function requestJoin(
  ticket: JoinTicket,
  options: { readonly server: ServerAddress; readonly keyKind: KeyKind | undefined; readonly timeoutMs: number; readonly log: Log; readonly nowMs: () => number },
): Promise<Granted> {
  const { trustDomain, pinSha256 } = ticket;
  const { address } = options.server;
  const serverName = serverNameOf(options.server, trustDomain);
  const root = await fetchPinnedRoot({ address, serverName, pinSha256, timeoutMs: options.timeoutMs });
  const pinned: Bundle = { trustDomain, sequence: 0, refreshHintSeconds: 300, x509Authorities: [root.toString('base64')] };
  const channel = openChannel({ address, serverName, expectedId: spiffeIds.controlPlane(trustDomain), bundles: openBundleSet([pinned]), log: options.log });
  try {
    const key = generateKey(options.keyKind);
    const client = channel.client(identity.IssuanceClient);
    const request = { token: ticket.token, csr: makeCsr({ key, spiffeId: ticket.spiffeId }) };
    const answer = await call(client.join.bind(client), request, { timeoutMs: options.timeoutMs });
    const bundles = bundlesOf(answer, options.log);
    const own = bundles.find((b) => b.trustDomain === trustDomain);
    if (own === undefined || !own.x509Authorities.includes(root.toString('base64'))) {
      throw fail('IDENTITY_PARENT_REFUSED', `the control plane’s bundle for ${trustDomain} does not hold the pinned root`);
    }
    return { svid: checked(makeX509Svid(chainOf(answer), key), ticket.spiffeId, own, options.nowMs()), bundles };
  } finally {
    channel.close();
  }
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

/** Gets a JWT-SVID of a service. */
export async function requestJwt(channel: RpcChannel, service: ServiceName, audience: readonly string[], timeoutMs: number): Promise<JwtSvid> {
  const client = channel.client(identity.IssuanceClient);
  const answer = await call(client.issueJwtSvid.bind(client), { namespace: service.namespace, service: service.name, audience: [...audience] }, { timeoutMs });
  return { token: answer.token, expiresAtMs: Number(answer.expiresAtMs) };
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

function bundlesOf(answer: identity.SvidResponse, log: Log): Bundle[] {
  return readable(answer.bundles, bundleFromWire, (problems) => log.warn('a bundle in an answer is refused', { problems }));
}
