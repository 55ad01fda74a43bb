// Who is calling: the SVID of the connection, verified anew for each request; an admin API of another cluster may speak for a person.
import type { IncomingMessage, IncomingHttpHeaders } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { fail } from '@isthmus/api';
import { formatProblems, parseSpiffeId, roleOf, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { type BundleSource, svidFacts, trustDomainOfCert, verifySvid } from '@isthmus/pki';
import { presentedChain } from '@isthmus/rpc';
import type { Config } from '../config.ts';
import type { Caller } from './grants.ts';

/** The header by which one admin API tells another whom it speaks for. */
export const ON_BEHALF_OF = 'isthmus-on-behalf-of';

export type Bearer = (token: string) => Promise<string>;

export type AuthenticateOptions = {
  readonly bundles: BundleSource;
  readonly nowMs: () => number;
  readonly config: Pick<Config, 'forwarders' | 'cluster' | 'federation'>;
  /** Checks a bearer token and answers the caller's id; without it no token is taken. */
  readonly bearer?: Bearer | undefined;
};

/** **Throws** API_UNAUTHENTICATED, API_FORWARD_REFUSED. */
export async function authenticate(request: IncomingMessage, options: AuthenticateOptions): Promise<Caller> {
  const token = bearerOf(request.headers);
  const chain = chainOf(request.socket as TLSSocket);
  if (chain.length === 0) {
    if (token !== undefined && options.bearer !== undefined) return { id: await options.bearer(token) };
    throw fail('API_UNAUTHENTICATED', 'the request proves no identity', { hint: 'use the client certificate `isthmus login` gets, or a bearer token of the configured issuer' });
  }
  const id = verified(chain, options);
  const role = roleOf(id);
  const spokenFor = request.headers[ON_BEHALF_OF];
  if (role.kind !== 'admin-api') {
    if (spokenFor !== undefined) throw fail('API_FORWARD_REFUSED', `${id} is no admin API and speaks for itself only`);
    return { id };
  }
  return forwarded(id, spokenFor, options.config);
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
function forwarded(id: SpiffeId, spokenFor: string | string[] | undefined, config: AuthenticateOptions['config']): Caller {
  const cluster = trustDomainOf(id).slice(0, -(config.federation.length + 1));
  const forwarder = config.forwarders.find((f) => `${f.cluster}.${config.federation}` === trustDomainOf(id));
  if (forwarder === undefined) throw fail('API_FORWARD_REFUSED', `the admin API of ${cluster} may not forward requests here`, { hint: `add it to \`forwarders\` of the admin API of ${config.cluster}` });
  if (typeof spokenFor !== 'string') throw fail('API_FORWARD_REFUSED', `${id} does not say for whom it asks`);
  const isPerson = spokenFor.startsWith('oidc:') && spokenFor.length <= 2_048;
  const spiffe = isPerson ? undefined : parseSpiffeId(spokenFor);
  if (spiffe !== undefined && (!spiffe.ok || roleOf(spiffe.value).kind === 'admin-api')) throw fail('API_FORWARD_REFUSED', `${id} may not speak for that caller`);
  return { id: spokenFor, forwardedBy: id, ceiling: forwarder.roles };
}

function bearerOf(headers: IncomingHttpHeaders): string | undefined {
  const match = /^Bearer ([A-Za-z0-9._~+/=-]{1,8192})$/.exec(headers.authorization ?? '');
  return match?.[1];
}
