// Which headers pass through a proxy and which end there, on lists whose hop-by-hop fields the codecs took out before.
import type { HeaderList } from './exchange.ts';

/** Set between mesh peers over mutual TLS only: `1` the request never reached the application, `0` it may have, but no answer came. */
export const UNPROCESSED_HEADER = 'x-isthmus-unprocessed';
/** Tells a caller why Isthmus itself answered: a response flag of the field (UH, UF, UC, UT, UO, UPE). */
export const REASON_HEADER = 'x-isthmus-reason';
/** How many outbound listeners a request has passed. The one field of ours an application gets: passed on, it ends loops. */
export const HOPS_HEADER = 'x-isthmus-hops';
/** A request that passed more outbound listeners than this goes round in circles (reliability row 74). */
export const MAX_HOPS = 16;

const OWN_PREFIX = 'x-isthmus-';
const X = 0x78;
const L = 0x6c;

/** Without our own `x-isthmus-*`, which mean something between mesh peers only. The same list where there are none. */
export function withoutOwn(headers: HeaderList): HeaderList {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.charCodeAt(0) === X && name.startsWith(OWN_PREFIX)) return copyWithoutOwn(headers, i);
  }
  return headers;
}

function copyWithoutOwn(headers: HeaderList, from: number): string[] {
  const out = headers.slice(0, from);
  for (let i = from; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!name.startsWith(OWN_PREFIX)) out.push(name, headers[i + 1] as string);
  }
  return out;
}

/** A copy without our own fields, whoever said them, and without anything that could pass for an identity (facts 6). */
export function withoutIdentity(headers: HeaderList): string[] {
  const out: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const first = name.charCodeAt(0);
    if ((first === X || first === L) && isClaim(name)) continue;
    out.push(name, headers[i + 1] as string);
  }
  return out;
}

/** A caller's word about identity is worth nothing, so it never reaches the application. */
function isClaim(name: string): boolean {
  if (name.startsWith(OWN_PREFIX)) return name !== HOPS_HEADER;
  return name.startsWith('x-envoy-') || name === 'x-forwarded-client-cert' || name === 'l5d-client-id';
}

/** The value of one field; its first where there are several. */
export function valueOfField(headers: HeaderList, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1];
  return undefined;
}

/** How many outbound listeners a request has passed; 0 where it says nothing that can be read. */
export function hopsOf(headers: HeaderList): number {
  const value = valueOfField(headers, HOPS_HEADER);
  return value !== undefined && /^\d{1,3}$/.test(value) ? Number(value) : 0;
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
