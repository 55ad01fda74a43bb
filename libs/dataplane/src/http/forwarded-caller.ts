// Who really calls, as a layer-7 gateway tells the agents of its own cluster: written by the gateway, read strictly, believed of nobody else.
import { parseSpiffeId, trustDomainOf } from '@isthmus/model';
import type { Peer } from '../tls/judge.ts';
import type { HeaderList } from './exchange.ts';

/** Begins with `x-isthmus-`, so every proxy takes it out of what comes from outside. */
export const CALLER_HEADER = 'x-isthmus-caller';

const FORM = /^([^;]{1,2048});hash=([0-9a-f]{64})$/;

/** The field's value for a caller that a gateway has verified. */
export function forwardedCaller(peer: Pick<Peer, 'spiffeId' | 'leafSha256'>): string {
  return `${peer.spiffeId};hash=${peer.leafSha256}`;
}

/**
 * The caller a request names; `gateway` is who said so, and the connection is its own. Undefined where the field is
 * missing, there twice, or not exactly of the form above, with an ID that has a path: such a request has no caller.
 */
export function readForwardedCaller(headers: HeaderList, gateway: Peer): Peer | undefined {
  let value: string | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== CALLER_HEADER) continue;
    if (value !== undefined) return undefined;
    value = headers[i + 1];
  }
  const [, id = '', leafSha256 = ''] = FORM.exec(value ?? '') ?? [];
  const parsed = parseSpiffeId(id);
  if (!parsed.ok || id.indexOf('/', 'spiffe://'.length) < 0) return undefined;
  const spiffeId = parsed.value;
  return { spiffeId, trustDomain: trustDomainOf(spiffeId), leafSha256, expiresAtMs: gateway.expiresAtMs, chain: gateway.chain };
}
