// The JWT-SVIDs of the services beside a proxy: asked for when wanted, kept for those who ask again, renewed at half life.
import { formatServiceName, type ServiceName, type SpiffeId } from '@isthmus/model';
import { type BundleSource, verifyJwtSvid } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';

/** A token and how long it is good. */
export type JwtSvid = { readonly token: string; readonly expiresAtMs: number };

export interface JwtSvids {
  /** The service's token for exactly these audiences. Rejects as the control plane refuses, RPC_* where none is left that is good. */
  get(service: ServiceName, audience: readonly string[]): Promise<JwtSvid>;
}

const MAX_KEPT = 1_024;
/** A token is not handed out in its last seconds: it would run out on its way. */
const USABLE_MS = 10_000;

type Kept = { readonly svid: JwtSvid; readonly renewAtMs: number };

/** **Bounds** 1,024 tokens; the one longest unused is forgotten. One request at a time for each service and audience. */
export function openJwtSvids(options: { readonly request: (service: ServiceName, audience: readonly string[]) => Promise<JwtSvid>; readonly clock: Clock }): JwtSvids {
  const { request, clock } = options;
  const kept = new Map<string, Kept>();
  const underWay = new Map<string, Promise<JwtSvid>>();

  function ask(key: string, service: ServiceName, audience: readonly string[]): Promise<JwtSvid> {
    const running = underWay.get(key);
    if (running !== undefined) return running;
    const askedAtMs = clock.nowMs();
    const asked = request(service, audience)
      .then((svid) => {
        kept.delete(key);
        kept.set(key, { svid, renewAtMs: askedAtMs + (svid.expiresAtMs - askedAtMs) / 2 });
        const oldest = kept.keys().next();
        if (kept.size > MAX_KEPT && oldest.done !== true) kept.delete(oldest.value);
        return svid;
      })
      .finally(() => underWay.delete(key));
    underWay.set(key, asked);
    return asked;
  }

  return {
    async get(service, audience) {
      const key = JSON.stringify([formatServiceName(service), [...audience].sort()]);
      const found = kept.get(key);
      const nowMs = clock.nowMs();
      if (found === undefined || found.svid.expiresAtMs - USABLE_MS <= nowMs) return ask(key, service, audience);
      kept.delete(key);
      kept.set(key, found);
      // Past half its life it is good still: who asks does not wait for a control plane that is slow or away.
      if (found.renewAtMs <= nowMs) ask(key, service, audience).catch(() => undefined);
      return found.svid;
    },
  };
}

/** **Throws** IDENTITY_PARENT_REFUSED for a token that a peer with these bundles would not take, or would take for another's. */
export async function checkJwtSvid(token: string, wanted: { readonly spiffeId: SpiffeId; readonly audience: readonly string[] }, bundles: BundleSource, nowMs: number): Promise<void> {
  for (const audience of wanted.audience) {
    const verdict = await verifyJwtSvid({ token, audience, bundles, nowMs });
    if (!verdict.ok) throw fail('IDENTITY_PARENT_REFUSED', `the token issued for ${wanted.spiffeId} does not verify: ${verdict.detail}`, { facts: { reason: verdict.reason } });
    if (verdict.svid.spiffeId !== wanted.spiffeId) throw fail('IDENTITY_PARENT_REFUSED', `a token for ${verdict.svid.spiffeId} was issued instead of ${wanted.spiffeId}`);
  }
}
