// Upgrades (WebSocket): asked for over HTTP, and relayed as bytes once the application has agreed, never before.
import { type IncomingMessage, request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { relayTls, type RelayEnd } from '../tls/relay-tls.ts';
import { endToEnd, originForm, type RawHeaders } from './headers.ts';

export type UpgradeAnswer =
  | { readonly kind: 'upgraded'; readonly head: IncomingMessage; readonly socket: Socket; readonly first: Buffer }
  | { readonly kind: 'response'; readonly head: IncomingMessage }
  | { readonly kind: 'failed'; readonly error: Error };

/** Asks over an open connection for the upgrade the caller asked for. Never throws. */
export function requestUpgrade(over: Socket, incoming: IncomingMessage, headers: RawHeaders, limitMs: number): Promise<UpgradeAnswer> {
  return new Promise((resolve) => {
    const request = httpRequest({
      createConnection: () => over,
      method: incoming.method ?? 'GET',
      path: originForm(incoming.url ?? '/') ?? '/',
      headers: [...headers, 'connection', 'upgrade', 'upgrade', incoming.headers.upgrade ?? 'websocket'],
      setHost: false,
    });
    request.setTimeout(limitMs, () => request.destroy(new Error('no answer within the time limit')));
    request.on('error', (error) => resolve({ kind: 'failed', error }));
    request.on('upgrade', (head, socket, first) => resolve({ kind: 'upgraded', head, socket: socket as Socket, first }));
    request.on('response', (head) => resolve({ kind: 'response', head }));
    request.end();
  });
}

/** Passes the answer on and, if it was yes, relays both ways until the end. */
export async function finishUpgrade(caller: Socket, callerFirst: Buffer, answer: Exclude<UpgradeAnswer, { kind: 'failed' }>, idleMs: number): Promise<RelayEnd> {
  const { head } = answer;
  if (answer.kind === 'response') {
    caller.write(headText(head, ['connection', 'close']));
    head.on('error', () => caller.destroy());
    head.on('close', () => {
      if (!head.complete) caller.destroy();
    });
    head.pipe(caller);
    return 'complete';
  }
  caller.write(headText(head, ['connection', 'upgrade', 'upgrade', head.headers.upgrade ?? 'websocket']));
  if (answer.first.length > 0) caller.write(answer.first);
  if (callerFirst.length > 0) answer.socket.write(callerFirst);
  return relayTls(caller, answer.socket, { idleMs });
}

function headText(head: IncomingMessage, extra: RawHeaders): string {
  const all = [...endToEnd(head.rawHeaders), ...extra];
  let text = `HTTP/1.1 ${head.statusCode ?? 502} ${head.statusMessage ?? ''}\r\n`;
  for (let i = 0; i + 1 < all.length; i += 2) text += `${all[i]}: ${all[i + 1]}\r\n`;
  return `${text}\r\n`;
}
