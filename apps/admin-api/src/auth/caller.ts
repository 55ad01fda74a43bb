// Who is calling: the SVID of the connection or a bearer token, verified anew for each request; an admin API of another cluster may speak for a person.
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { fail, parseStrictJson } from '@isthmus/api';
import type { Claims } from '@isthmus/identity';
import { formatProblems, parseSpiffeId, roleOf, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { type BundleSource, svidFacts, trustDomainOfCert, verifySvid } from '@isthmus/pki';
import { presentedChain } from '@isthmus/rpc';
import type { Config } from '../config.ts';
import type { Caller } from './grants.ts';
import { type Oidc, tokenCallerId } from './oidc.ts';

/** The header by which one admin API tells another whom it speaks for. */
export const ON_BEHALF_OF = 'isthmus-on-behalf-of';

/** The header by which it tells what a person's token said: base64url of JSON. */
export const CLAIMS = 'isthmus-claims';
/** Longer ones do not travel: the person then has what is granted to its name, and nothing by its claims. */
export const MAX_CLAIMS_CHARS = 8_192;

export type AuthenticateOptions = {
  readonly bundles: BundleSource;
  readonly nowMs: () => number;
  readonly config: Pick<Config, 'forwarders' | 'cluster' | 'federation'>;
  /** Checks bearer tokens; without it none is taken. */
  readonly oidc?: Oidc | undefined;
};

/** **Throws** API_UNAUTHENTICATED, API_FORWARD_REFUSED. */
export async function authenticate(request: IncomingMessage, options: AuthenticateOptions): Promise<Caller> {
  const { authorization } = request.headers;
  const chain = chainOf(request.socket as TLSSocket);
  if (authorization !== undefined) {
    if (chain.length > 0) throw fail('API_UNAUTHENTICATED', 'the request brings a client certificate and a token, and may bring one of them only');
    if (options.oidc === undefined) throw fail('API_UNAUTHENTICATED', 'no bearer tokens are taken here', { hint: 'use the client certificate `isthmus login` gets, or name an issuer in `oidc` of the admin API’s configuration' });
    const token = /^Bearer ([A-Za-z0-9._~+/=-]{1,12288})$/i.exec(authorization)?.[1];
    if (token === undefined) throw fail('API_UNAUTHENTICATED', 'the Authorization header holds no bearer token (RFC 6750 §2.1)');
    if (request.headers[ON_BEHALF_OF] !== undefined) throw fail('API_FORWARD_REFUSED', 'the bearer of a token speaks for itself only');
    return options.oidc.authenticate(token);
  }
  if (chain.length === 0) {
    throw fail('API_UNAUTHENTICATED', 'the request proves no identity', { hint: 'use the client certificate `isthmus login` gets, or a bearer token of a configured issuer' });
  }
  const id = verified(chain, options);
  const role = roleOf(id);
  const spokenFor = request.headers[ON_BEHALF_OF];
  if (role.kind !== 'admin-api') {
    if (spokenFor !== undefined) throw fail('API_FORWARD_REFUSED', `${id} is no admin API and speaks for itself only`);
    return { id };
  }
  return forwarded(id, spokenFor, request.headers[CLAIMS], options);
}

const chains = new WeakMap<TLSSocket, readonly Buffer[]>();

function chainOf(socket: TLSSocket): readonly Buffer[] {
  let chain = chains.get(socket);
  if (chain === undefined) chains.set(socket, (chain = presentedChain(socket)));
  return chain;
}

/** Verified for each request: a connection outlives neither its certificate nor the root that signed it. */
function verified(chain: readonly Buffer[], { bundles, nowMs }: AuthenticateOptions): SpiffeId {
  const [leaf] = chain;
  const id = leaf === undefined ? undefined : trustDomainOfCert(leaf);
  if (id === undefined || !id.ok) throw fail('API_UNAUTHENTICATED', `the client certificate is no SVID: ${id === undefined ? 'there is none' : formatProblems(id.problems)}`);
  const verdict = verifySvid({ chain, bundle: bundles.get(trustDomainOf(id.value)), nowMs: nowMs() });
  if (!verdict.ok) throw fail('API_UNAUTHENTICATED', `the client certificate is refused (${verdict.reason}): ${verdict.detail}`, { hint: 'log in again' });
  if (bundles.bans(trustDomainOf(id.value))?.of(svidFacts(verdict.spiffeId, chain)) !== undefined) throw fail('API_UNAUTHENTICATED', `${verdict.spiffeId} is banned`);
  return verdict.spiffeId;
}

/** A member's admin API speaks for people within what this cluster lets it: never for another admin API, never with more than its ceiling. */
function forwarded(id: SpiffeId, spokenFor: string | string[] | undefined, claimsHeader: string | string[] | undefined, { config, oidc }: AuthenticateOptions): Caller {
  const cluster = trustDomainOf(id).slice(0, -(config.federation.length + 1));
  const forwarder = config.forwarders.find((f) => `${f.cluster}.${config.federation}` === trustDomainOf(id));
  if (forwarder === undefined) throw fail('API_FORWARD_REFUSED', `the admin API of ${cluster} may not forward requests here`, { hint: `add it to \`forwarders\` of the admin API of ${config.cluster}` });
  if (typeof spokenFor !== 'string') throw fail('API_FORWARD_REFUSED', `${id} does not say for whom it asks`);
  const by = { forwardedBy: id, ceiling: forwarder.roles };
  const [, name] = /^oidc:([a-z0-9-]{1,63}):[\x21-\x7e]{1,2000}$/.exec(spokenFor) ?? [];
  if (name !== undefined) {
    const claims = typeof claimsHeader === 'string' ? claimsOf(claimsHeader) : undefined;
    if (claims === undefined) return { id: spokenFor, ...by };
    if (tokenCallerId(name, String(claims['sub'])) !== spokenFor) throw fail('API_FORWARD_REFUSED', `${id} brings claims of another than it speaks for`);
    // What they are good for is decided by the rules here, not there.
    return { id: spokenFor, ...by, issuer: String(claims['iss']), claims, grants: oidc?.grantsBy(name, claims) ?? [] };
  }
  const spiffe = parseSpiffeId(spokenFor);
  if (!spiffe.ok || roleOf(spiffe.value).kind === 'admin-api') throw fail('API_FORWARD_REFUSED', `${id} may not speak for that caller`);
  return { id: spokenFor, ...by };
}

/** **Throws** API_FORWARD_REFUSED for what is no object in base64url. */
function claimsOf(header: string): Claims {
  const json = header.length <= MAX_CLAIMS_CHARS ? parseStrictJson(Buffer.from(header, 'base64url').toString('utf8')) : undefined;
  if (json?.ok !== true || typeof json.value !== 'object' || json.value === null || Array.isArray(json.value)) throw fail('API_FORWARD_REFUSED', 'the claims that came with the request do not parse');
  return json.value as Claims;
}

/** Claims as they travel to another cluster; undefined where they are too many. */
export function claimsHeader(claims: Claims): string | undefined {
  const text = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return text.length <= MAX_CLAIMS_CHARS ? text : undefined;
}
