// Which headers pass through a proxy and which end there, on raw header lists, so that order, case and repeats are kept.

/** Set between mesh peers over mutual TLS only: `1` the request never reached the application, `0` it may have, but no answer came. */
export const UNPROCESSED_HEADER = 'x-isthmus-unprocessed';
/** Tells a caller why Isthmus itself answered: a response flag of the field (UH, UF, UC, UT, UO). */
export const REASON_HEADER = 'x-isthmus-reason';

// RFC 9110 §7.6.1, and what undici and node:http set for themselves.
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection', 'proxy-connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade', 'expect', 'proxy-authenticate', 'proxy-authorization',
]);
// A caller's word about identity: worth nothing, so it never reaches the application (facts 6).
const IDENTITY: ReadonlySet<string> = new Set(['x-forwarded-client-cert', 'l5d-client-id']);
// Never removed because a Connection header names them: that would change where the message goes or ends.
const FRAMING: ReadonlySet<string> = new Set(['host', 'content-length']);

/** Flat name, value list as node:http and undici keep it. */
export type RawHeaders = readonly string[];

/** End-to-end headers only; own `x-isthmus-*` are dropped in both directions. */
export function endToEnd(raw: RawHeaders): string[] {
  return keep(raw, nominated(raw), (name) => !name.startsWith('x-isthmus-'));
}

/** As `endToEnd`, and without anything that could pass for an identity: what an application may see of a peer's request. */
export function withoutIdentity(raw: RawHeaders): string[] {
  return keep(raw, nominated(raw), (name) => !name.startsWith('x-isthmus-') && !name.startsWith('x-envoy-') && !IDENTITY.has(name));
}

/** The values of one header. */
export function valuesOf(raw: RawHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]?.toLowerCase() === name) values.push(raw[i + 1] ?? '');
  return values;
}

/**
 * The request target in origin form; undefined for one that names no path here (`*`, authority form).
 * Source: RFC 9112 §3.2.
 */
export function originForm(target: string): string | undefined {
  if (target.startsWith('/')) return target;
  const match = /^https?:\/\/[^/?#]*(.*)$/i.exec(target);
  if (match === null) return undefined;
  const rest = match[1] ?? '';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/**
 * Envoy's x-forwarded-client-cert for one hop. SPIFFE IDs are parsed before, so they hold no separators; quoting is the
 * second lock. Source: facts 2, XFCC mode SANITIZE_SET.
 */
export function forwardedClientCert(own: string, peer: { readonly spiffeId: string; readonly leafSha256: string }): string {
  return `By=${quoted(own)};Hash=${peer.leafSha256};URI=${quoted(peer.spiffeId)}`;
}

function quoted(value: string): string {
  const clean = value.replace(/[^\x20-\x7e]/g, '');
  return /[,;="\\ ]/.test(clean) ? `"${clean.replace(/["\\]/g, '\\$&')}"` : clean;
}

function nominated(raw: RawHeaders): ReadonlySet<string> | undefined {
  const values = valuesOf(raw, 'connection');
  if (values.length === 0) return undefined;
  return new Set(values.join(',').split(',').map((v) => v.trim().toLowerCase()));
}

function keep(raw: RawHeaders, dropped: ReadonlySet<string> | undefined, passes: (name: string) => boolean): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase();
    if (HOP_BY_HOP.has(name) || !passes(name)) continue;
    if (dropped !== undefined && dropped.has(name) && !FRAMING.has(name)) continue;
    out.push(raw[i] ?? '', raw[i + 1] ?? '');
  }
  return out;
}
