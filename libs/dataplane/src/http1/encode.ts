// Writes heads: start lines, fields, framing.
import { STATUS_CODES } from 'node:http';
import type { HeaderList, RequestHead } from '../http/exchange.ts';
import { isAuthority } from './authority.ts';
import { FIELD_NAMES, TOKEN_LOWER } from './octets.ts';

const STATUS_LINES: (string | undefined)[] = [];

/** `HTTP/1.1 200 OK` and CRLF. */
export function statusLine(status: number): string {
  return (STATUS_LINES[status] ??= `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`);
}

// Framing and connection fields are the codec's own: whatever a list says of them is not sent.
const OWN: ReadonlySet<string> = new Set(['te', 'host', 'expect', 'upgrade', 'connection', 'keep-alive', 'content-length', 'proxy-connection', 'transfer-encoding']);
const COMMON: ReadonlySet<string> = new Set(FIELD_NAMES.filter((name) => !OWN.has(name)));
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const NO_TARGET = /[^!-~]|#/;

/**
 * The list's fields as lines, without those that are the codec's own; undefined if one of them cannot be said in
 * HTTP/1.1. The lists were checked where they came from: this is the second lock, for what HTTP/2 or a rule brought.
 */
export function fieldLines(headers: HeaderList): string | undefined {
  let text = '';
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (NO_VALUE.test(value)) return undefined;
    if (!COMMON.has(name)) {
      if (!isToken(name)) return undefined;
      if (OWN.has(name)) continue;
    }
    text += name + ': ' + value + '\r\n';
  }
  return text;
}

function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 255 || TOKEN_LOWER[c] === 0) return false;
  }
  return text.length > 0;
}

/** A request's head; undefined if a part of it cannot be said in HTTP/1.1. */
export function requestText(head: RequestHead, endsNow: boolean): string | undefined {
  const { method, target, authority } = head;
  const lines = fieldLines(head.headers);
  if (lines === undefined || (method !== 'GET' && !isToken(method)) || NO_TARGET.test(target)) return undefined;
  if (target.charCodeAt(0) !== 0x2f && target !== '*') return undefined;
  if (authority !== '' && !isAuthority(authority)) return undefined;
  let text = method + ' ' + target + ' HTTP/1.1\r\nhost: ' + authority + '\r\n' + lines;
  if (!endsNow) {
    text += head.bodyBytes === undefined ? 'transfer-encoding: chunked\r\n' : 'content-length: ' + head.bodyBytes + '\r\n';
    if (head.expectsContinue) text += 'expect: 100-continue\r\n';
  } else if (needsLength(method)) text += 'content-length: 0\r\n';
  if (head.upgrade !== undefined) text += 'connection: upgrade\r\nupgrade: ' + head.upgrade + '\r\n';
  return text + '\r\n';
}

/** What ends a chunked body; undefined if a trailer cannot be said in HTTP/1.1. */
export function lastChunk(trailers: HeaderList | undefined): string | undefined {
  if (trailers === undefined || trailers.length === 0) return '0\r\n\r\n';
  const lines = fieldLines(trailers);
  return lines === undefined ? undefined : '0\r\n' + lines + '\r\n';
}

/** Methods whose request says so when it has no body (RFC 9110 §8.6). */
function needsLength(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}
