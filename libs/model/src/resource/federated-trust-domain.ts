// A foreign trust domain this cluster takes bundles of: whose it is and where its bundle comes from. Never one of our own.
import { compileSchema, type Static, strict, Type } from '../schema.ts';
import { type Parsed, type Problem } from '../problem.ts';
import { parseSpiffeId, trustDomainOf } from '../spiffe-id.ts';

const MAX_URL = 2_048;
const url = Type.String({ pattern: '^https://', maxLength: MAX_URL, description: 'Address of the bundle endpoint; none of `file`' });

/** Where the bundle is had. Source: SPIFFE Federation §5.1 (`https_web`) and §5.2 (`https_spiffe`). */
export const bundleSourceSchema = Type.Union([
  strict({
    profile: Type.Literal('https_spiffe', { description: 'How the bundle’s source proves itself: by an SVID of its own trust domain, by a web certificate, or `file`, brought by hand' }),
    url,
    spiffeId: Type.String({ maxLength: 2_048, description: 'Of `https_spiffe`: whom the endpoint must prove to be, by the last good bundle of this very trust domain' }),
  }),
  strict({
    profile: Type.Literal('https_web'),
    url,
    caPem: Type.Optional(Type.String({ maxLength: 65_536, description: 'Of `https_web`: the CAs that may vouch for the endpoint, PEM; the system’s own without it' })),
  }),
  /** Brought by hand, for sites that may not call each other. */
  strict({ profile: Type.Literal('file') }),
], { description: 'Where the bundle is had' });
export type BundleEndpoint = Static<typeof bundleSourceSchema>;

export const federatedTrustDomainSchema = strict({
  kind: Type.Literal('federated-trust-domain'),
  trustDomain: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,252}$', description: 'The foreign trust domain; never one of the federation’s own' }),
  source: bundleSourceSchema,
});
export type FederatedTrustDomain = Static<typeof federatedTrustDomainSchema>;

const parseShape = compileSchema(federatedTrustDomainSchema);

/** Parses a declaration and holds its parts to each other: a readable URL without a user, an endpoint of that trust domain. */
export function parseFederatedTrustDomain(input: unknown): Parsed<FederatedTrustDomain> {
  const parsed = parseShape(input);
  if (!parsed.ok) return parsed;
  const { source, trustDomain } = parsed.value;
  const problems: Problem[] = [];
  if (source.profile !== 'file') {
    const address = URL.parse(source.url);
    if (address === null || address.protocol !== 'https:') problems.push({ path: 'source.url', message: 'is no https address' });
    else if (address.username !== '' || address.password !== '') problems.push({ path: 'source.url', message: 'must not hold a user or password' });
  }
  if (source.profile === 'https_spiffe') {
    const id = parseSpiffeId(source.spiffeId, 'source.spiffeId');
    if (!id.ok) problems.push(...id.problems);
    else if (trustDomainOf(id.value) !== trustDomain) problems.push({ path: 'source.spiffeId', message: `is not of ${trustDomain}; only its own bundle may vouch for its endpoint` });
    else if (id.value === `spiffe://${trustDomain}`) problems.push({ path: 'source.spiffeId', message: 'names a trust domain, not its endpoint' });
  }
  return problems.length > 0 ? { ok: false, problems } : parsed;
}

/** Which callers of a foreign trust domain may reach a service: those named, or with none named every one of that trust domain. */
export const foreignCallersSchema = strict({
  trustDomain: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,252}$', description: 'The callers’ trust domain' }),
  spiffeIds: Type.Optional(Type.Array(Type.String({ maxLength: 2_048 }), { minItems: 1, maxItems: 256, description: 'The callers; everybody of the trust domain without it' })),
});
export type ForeignCallers = Static<typeof foreignCallersSchema>;

/** What is wrong with lists of foreign callers beyond their shape: an ID that is none, or of another trust domain. */
export function foreignCallersProblems(callers: readonly ForeignCallers[], path: string): readonly Problem[] {
  return callers.flatMap(({ trustDomain, spiffeIds = [] }, i) =>
    spiffeIds.flatMap((text, j) => {
      const at = `${path}[${i}].spiffeIds[${j}]`;
      const id = parseSpiffeId(text, at);
      if (!id.ok) return id.problems;
      return trustDomainOf(id.value) === trustDomain ? [] : [{ path: at, message: `is not of ${trustDomain}` }];
    }),
  );
}
