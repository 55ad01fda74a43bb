// WebSocket between versions of HTTP: the handshake's key and its proof exist in HTTP/1.1 only.
import { createHash, randomBytes } from 'node:crypto';
import type { RequestHead, ResponseHead } from './exchange.ts';
import { valueOfField } from './headers.ts';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const KEY = 'sec-websocket-key';
const ACCEPT = 'sec-websocket-accept';

/** An upgrade, whose method is GET in either version here, as it is asked for in another version: extended CONNECT carries no key. Source: RFC 8441 §5, RFC 6455 §4.1. */
export function upgradeFor(version: '1.1' | '2', head: RequestHead): RequestHead {
  if (head.upgrade === undefined) return head;
  const headers = without(head.headers, KEY);
  if (version === '2') return { ...head, headers, bodyBytes: undefined };
  if (valueOfField(head.headers, KEY) !== undefined) return head;
  return { ...head, bodyBytes: 0, headers: [...without(headers, 'sec-websocket-version'), KEY, randomBytes(16).toString('base64'), 'sec-websocket-version', '13'] };
}

/** The answer to it, for the caller that asked `request`: with the proof its key asks for, or without any. Source: RFC 6455 §4.2.2. */
export function upgradedFor(request: RequestHead, answer: ResponseHead): ResponseHead {
  const key = valueOfField(request.headers, KEY);
  const headers = without(answer.headers, ACCEPT);
  if (key !== undefined) headers.push(ACCEPT, createHash('sha1').update(key + GUID).digest('base64'));
  return { status: answer.status, headers, bodyBytes: undefined };
}

function without(headers: readonly string[], name: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < headers.length; i += 2) if (headers[i] !== name) out.push(headers[i] as string, headers[i + 1] as string);
  return out;
}
