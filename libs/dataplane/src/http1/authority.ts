// Whom a request is for: the authority of a Host field or of a target in absolute form.
import { HOST_OCTET } from './octets.ts';

// Requests come in runs to one host, and each is looked at twice: on its way in and on its way out.
let lastAuthority: string | undefined;

/** Host and optional port, without user, list or escapes. Source: RFC 9110 §7.2, RFC 3986 §3.2. */
export function isAuthority(value: string): boolean {
  if (value === lastAuthority) return true;
  if (!isHostAndPort(value)) return false;
  lastAuthority = value;
  return true;
}

function isHostAndPort(value: string): boolean {
  let i = 0;
  if (value.charCodeAt(0) === 0x5b) {
    const close = value.indexOf(']');
    if (close < 3 || !/^[0-9a-fA-F:.]+$/.test(value.slice(1, close))) return false;
    i = close + 1;
  } else {
    while (i < value.length && HOST_OCTET[value.charCodeAt(i)] === 1) i++;
    if (i === 0) return false;
  }
  if (i === value.length) return true;
  if (value.charCodeAt(i) !== 0x3a || value.length - i > 6) return false;
  for (i += 1; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return false;
  }
  return true;
}

/** `http://host:port/path?query`, split: the authority wins over Host; undefined: the target is nothing of the kind. Source: RFC 9112 §3.2.2. */
export function absoluteForm(target: string, method: string): { readonly authority: string; readonly target: string } | undefined {
  const match = /^https?:\/\/([^/?]+)(.*)$/i.exec(target);
  if (match === null) return undefined;
  const [, authority = '', rest = ''] = match;
  if (!isAuthority(authority)) return undefined;
  if (rest === '') return { authority, target: method === 'OPTIONS' ? '*' : '/' };
  return { authority, target: rest.startsWith('/') ? rest : `/${rest}` };
}
