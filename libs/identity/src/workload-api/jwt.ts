// JWT-SVIDs over the Workload API: issued to whom they are of, bundles for who checks them, and checking itself (SPIFFE Workload API §6).
import { createPublicKey } from 'node:crypto';
import { type Bundle, type ServiceName, spiffeIds, trustDomainOf } from '@isthmus/model';
import { verifyJwtSvid } from '@isthmus/pki';
import { workloadApi } from '@isthmus/rpc';
import { checkAudience } from '../audience.ts';
import { fail } from '../errors.ts';
import { hintOf } from './answers.ts';
import type { Visit } from './door.ts';
import type { Subject } from './push.ts';
import type { Served } from './served.ts';

/** One token for each identity of the caller, or for the one it names. **Throws** WORKLOAD_API_DENIED, IDENTITY_JWT_INVALID, and as issuing fails. */
export async function fetchJwtSvids(served: Served, { peer, services }: Visit, request: workloadApi.JWTSVIDRequest): Promise<workloadApi.JWTSVIDResponse> {
  const { identity } = served;
  checkAudience(request.audience);
  const idOf = (service: ServiceName) => spiffeIds.service(identity.trustDomain, service);
  const chosen = request.spiffeId === '' ? services : services.filter((service) => idOf(service) === request.spiffeId);
  if (chosen.length === 0) throw fail('WORKLOAD_API_DENIED', 'no identity issued: the SPIFFE ID asked for is not the caller’s');
  if (!served.tokenLimit.take(`user ${peer.uid}`)) throw fail('WORKLOAD_API_BUSY', `user ${peer.uid} asks for too many tokens`, { hint: 'keep a token for its life' });
  const svids = await Promise.all(
    chosen.map(async (service) => {
      const { token } = await identity.jwtSvid(service, request.audience);
      return { spiffeId: idOf(service), svid: token, hint: hintOf({ spiffeId: idOf(service) }) };
    }),
  );
  return { svids };
}

/** Who a token is, when it is good for that audience. **Throws** WORKLOAD_API_INVALID saying why it is not. */
export async function validateJwtSvid(served: Served, { audience, svid }: workloadApi.ValidateJWTSVIDRequest): Promise<workloadApi.ValidateJWTSVIDResponse> {
  if (audience === '' || svid === '') throw fail('WORKLOAD_API_INVALID', 'a token is checked for an audience; one of the two is missing');
  const { bundles } = served.identity;
  const verdict = await verifyJwtSvid({ token: svid, audience, bundles, nowMs: served.clock.nowMs() });
  if (!verdict.ok) throw fail('WORKLOAD_API_INVALID', `the token is refused: ${verdict.detail}`, { facts: { reason: verdict.reason } });
  const { spiffeId, issuedAtMs = 0 } = verdict.svid;
  // A token names no holder: a ban of the service it is for is what reaches it.
  const ban = bundles.bans(trustDomainOf(spiffeId))?.of([{ spiffeId, holder: undefined, issuedAtMs }]);
  if (ban !== undefined) throw fail('WORKLOAD_API_INVALID', `the token is refused: ${spiffeId} is banned`, { facts: { reason: 'banned' } });
  return { spiffeId, claims: { ...verdict.svid.claims } };
}

/** The keys of every trust domain, at every change. */
export function jwtBundles({ identity }: Served): Subject<workloadApi.JWTBundlesResponse> {
  const { bundles } = identity;
  return {
    follow: [bundles],
    encode: (answer) => workloadApi.JWTBundlesResponse.encode(answer).finish(),
    make: () => {
      const sorted = bundles.all().toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
      return { answer: { bundles: Object.fromEntries(sorted.map((b) => [`spiffe://${b.trustDomain}`, jwksOf(b)])) }, isWhole: true };
    },
  };
}

/**
 * The JWT keys of a bundle as a JWK Set. Without `use`, as SPIRE answers: libraries that know nothing of SPIFFE pass
 * over keys whose use is not `sig`. Source: RFC 7517 §5.
 */
export function jwksOf(bundle: Bundle): Buffer {
  const keys = (bundle.jwtAuthorities ?? []).map(({ keyId, publicKey }) => {
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64'), format: 'der', type: 'spki' });
    return { ...key.export({ format: 'jwk' }), kid: keyId };
  });
  return Buffer.from(JSON.stringify({ keys }));
}
