// SPIFFE IDs and trust domains (SPIFFE-ID §2), and the fixed identities Isthmus mints.
import { quote, type ServiceName } from './name.ts';
import { type Parsed, parsed, refused } from './problem.ts';

declare const brand: unique symbol;
export type TrustDomain = string & { readonly [brand]: 'TrustDomain' };
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' };

const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;
const MAX_ID_BYTES = 2048;

/** Parses a trust domain name: 1–255 of a-z, 0-9, `.`, `-`, `_`. Source: SPIFFE-ID §2.1. */
export function parseTrustDomain(text: string, path = ''): Parsed<TrustDomain> {
  if (!TRUST_DOMAIN.test(text)) return refused(path, `${quote(text)} is no trust domain (1-255 of a-z 0-9 . - _)`);
  return parsed(text as TrustDomain);
}

/**
 * Parses a SPIFFE ID, with or without a path; refuses every form the standard refuses: other schemes, upper-case
 * trust domains, ports, users, queries, fragments, percent-encoding, empty and dot segments, trailing slashes.
 * Source: SPIFFE-ID §2.1–2.3.
 */
export function parseSpiffeId(text: string, path = ''): Parsed<SpiffeId> {
  const bad = (why: string): Parsed<SpiffeId> => refused(path, `${quote(text)} is no SPIFFE ID: ${why}`);
  if (text.length > MAX_ID_BYTES) return bad(`longer than ${MAX_ID_BYTES} bytes`);
  if (!text.startsWith('spiffe://')) return bad('does not begin with spiffe://');
  const [host = '', ...segments] = text.slice('spiffe://'.length).split('/');
  if (!TRUST_DOMAIN.test(host)) return bad('bad trust domain');
  for (const segment of segments) {
    if (!SEGMENT.test(segment) || segment === '.' || segment === '..') return bad(`bad path segment ${quote(segment)}`);
  }
  return parsed(text as SpiffeId);
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  const rest = id.slice('spiffe://'.length);
  const slash = rest.indexOf('/');
  return (slash === -1 ? rest : rest.slice(0, slash)) as TrustDomain;
}

/** The path of an ID with its leading slash, or an empty string for a signing authority's ID. */
export function pathOf(id: SpiffeId): string {
  return id.slice('spiffe://'.length + trustDomainOf(id).length);
}

/** Trust domain of a cluster: `<cluster>.<federation>`. */
export function clusterTrustDomain(cluster: string, federation: string): TrustDomain {
  return `${cluster}.${federation}` as TrustDomain;
}

/** The identities Isthmus mints; `authority` is a signing certificate's and has no path (X.509-SVID §3.2). */
export const spiffeIds = {
  authority: (td: TrustDomain): SpiffeId => `spiffe://${td}` as SpiffeId,
  trustRoot: (federation: TrustDomain): SpiffeId => `spiffe://${federation}/trust-root` as SpiffeId,
  controlPlane: (td: TrustDomain): SpiffeId => `spiffe://${td}/control-plane` as SpiffeId,
  gateway: (td: TrustDomain): SpiffeId => `spiffe://${td}/gateway` as SpiffeId,
  /** One gateway among those of its cluster: stands in serial numbers and bans, and in no certificate's name, since peers take any gateway of a cluster. */
  gatewayHolder: (td: TrustDomain, gateway: string): SpiffeId => `spiffe://${td}/gateway/${gateway}` as SpiffeId,
  adminApi: (td: TrustDomain): SpiffeId => `spiffe://${td}/admin-api` as SpiffeId,
  /** A person or program that operates clusters; what it may do is said by the admin API's configuration, never by its ID. */
  operator: (td: TrustDomain, operator: string): SpiffeId => `spiffe://${td}/operator/${operator}` as SpiffeId,
  agent: (td: TrustDomain, agent: string): SpiffeId => `spiffe://${td}/agent/${agent}` as SpiffeId,
  service: (td: TrustDomain, s: ServiceName): SpiffeId => `spiffe://${td}/ns/${s.namespace}/svc/${s.name}` as SpiffeId,
} as const;

/** Who an ID of this system belongs to; `other` for a path Isthmus does not mint. */
export type Role =
  | { readonly kind: 'authority' | 'trust-root' | 'control-plane' | 'gateway' | 'admin-api' | 'other' }
  | { readonly kind: 'operator'; readonly operator: string }
  | { readonly kind: 'agent'; readonly agent: string }
  | { readonly kind: 'service'; readonly service: ServiceName };

/** Reads the role out of an ID's path. */
export function roleOf(id: SpiffeId): Role {
  const segments = pathOf(id).split('/').slice(1);
  const [first, second, third, fourth] = segments;
  if (segments.length === 0) return { kind: 'authority' };
  if (segments.length === 1 && (first === 'trust-root' || first === 'control-plane' || first === 'gateway' || first === 'admin-api')) return { kind: first };
  if (segments.length === 2 && first === 'agent' && second !== undefined) return { kind: 'agent', agent: second };
  if (segments.length === 2 && first === 'operator' && second !== undefined) return { kind: 'operator', operator: second };
  if (segments.length === 4 && first === 'ns' && third === 'svc' && second !== undefined && fourth !== undefined) {
    return { kind: 'service', service: { namespace: second, name: fourth } };
  }
  return { kind: 'other' };
}
