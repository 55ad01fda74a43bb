// SNI names: which service port of which cluster a connection is for, or which of a cluster's own parts. One reversible form.
import { isDnsLabel, type ServiceName } from './name.ts';
import type { TrustDomain } from './spiffe-id.ts';

/** Parts of a cluster reached through its gateway's one open port by a reserved name. */
export type ReservedName = 'control-plane' | 'store' | 'trust-root' | 'bundle' | 'admin';

export type SniTarget =
  | { readonly kind: 'service'; readonly service: ServiceName; readonly port: string; readonly trustDomain: string; readonly layer: 4 | 7 }
  | { readonly kind: 'reserved'; readonly name: ReservedName; readonly trustDomain: string };

const TRUST_DOMAIN_LABELS = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;
const RESERVED: ReadonlySet<string> = new Set<ReservedName>(['control-plane', 'store', 'trust-root', 'bundle', 'admin']);

/**
 * `<port>.<service>.<namespace>.svc.<trust domain>`: names the cluster too, so a gateway can tell what is not its own. With
 * `l7` for `svc` the gateway itself is to answer: who expects it says so, and nobody is answered by another than expected.
 */
export function serviceSni(service: ServiceName, port: string, trustDomain: TrustDomain, layer: 4 | 7 = 4): string {
  return `${port}.${service.name}.${service.namespace}.${layer === 7 ? 'l7' : 'svc'}.${trustDomain}`;
}

/** `<name>.isthmus.<trust domain>`: the federation's own traffic. */
export function reservedSni(name: ReservedName, trustDomain: TrustDomain): string {
  return `${name}.isthmus.${trustDomain}`;
}

/**
 * Reads an SNI name back; undefined for anything that is not exactly one of these forms. Names are compared in lower
 * case (RFC 6066 §3: server names are case-insensitive); a trailing dot is not accepted.
 */
export function parseSni(name: string): SniTarget | undefined {
  if (name.length > 255) return undefined;
  const labels = name.toLowerCase().split('.');
  const [first, second, third, fourth] = labels;
  if (first === undefined || second === undefined) return undefined;
  if (second === 'isthmus' && RESERVED.has(first) && labels.length > 2) {
    const trustDomain = labels.slice(2).join('.');
    return TRUST_DOMAIN_LABELS.test(trustDomain) ? { kind: 'reserved', name: first as ReservedName, trustDomain } : undefined;
  }
  if (third === undefined || (fourth !== 'svc' && fourth !== 'l7') || labels.length < 5) return undefined;
  if (!isDnsLabel(first) || !isDnsLabel(second) || !isDnsLabel(third)) return undefined;
  const trustDomain = labels.slice(4).join('.');
  return TRUST_DOMAIN_LABELS.test(trustDomain) ? { kind: 'service', port: first, service: { name: second, namespace: third }, trustDomain, layer: fourth === 'l7' ? 7 : 4 } : undefined;
}
