// Writes heads: start lines, fields, framing.
import { STATUS_CODES } from 'node:http';
import type { HeaderList, RequestHead } from '../http/exchange.ts';

const STATUS_LINES: (string | undefined)[] = [];

/** `HTTP/1.1 200 OK` and CRLF. */
export function statusLine(status: number): string {
  return (STATUS_LINES[status] ??= `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`);
}

/** Framing and connection fields are the codec's own: whatever a list says of them is not sent. */
function isOwn(name: string): boolean {
  switch (name.length) {
    case 2:
      return name === 'te';
    case 4:
      return name === 'host';
    case 6:
      return name === 'expect';
    case 7:
      return name === 'upgrade';
    case 10:
      return name === 'connection' || name === 'keep-alive';
    case 14:
      return name === 'content-length';
    case 16:
      return name === 'proxy-connection';
    case 17:
      return name === 'transfer-encoding';
    default:
      return false;
  }
}

/** The list's fields as lines, without those that are the codec's own. */
export function fieldLines(headers: HeaderList): string {
  let text = '';
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!isOwn(name)) text += name + ': ' + (headers[i + 1] as string) + '\r\n';
  }
  return text;
}

/** A request's head. */
export function requestText(head: RequestHead, endsNow: boolean): string {
  let text = head.method + ' ' + head.target + ' HTTP/1.1\r\nhost: ' + head.authority + '\r\n' + fieldLines(head.headers);
  if (!endsNow) {
    text += head.bodyBytes === undefined ? 'transfer-encoding: chunked\r\n' : 'content-length: ' + head.bodyBytes + '\r\n';
    if (head.expectsContinue) text += 'expect: 100-continue\r\n';
  } else if (head.bodyBytes === 0 && needsLength(head.method)) text += 'content-length: 0\r\n';
  if (head.upgrade !== undefined) text += 'connection: upgrade\r\nupgrade: ' + head.upgrade + '\r\n';
  return text + '\r\n';
}

/** Methods whose request says so when it has no body (RFC 9110 §8.6). */
function needsLength(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}
