// Opens a TCP connection within a limit.
import { connect, type Socket } from 'node:net';
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { lookupByCache } from '../../transport/name-cache.ts';

/** After so much silence the kernel asks whether the other end is still there. */
export const KEEP_ALIVE_MS = 15_000;

/**
 * Connects for a caller, or says in words why not: also when the caller is gone before. The socket is paused and allows
 * half-open. Never rejects, leaves no socket behind.
 */
export function dial(target: { readonly host: string; readonly port: number }, caller: Socket, limitMs: number, clock: Clock): Promise<Socket | string> {
  if (caller.destroyed) return Promise.resolve('the caller is gone');
  return new Promise((resolve) => {
    const socket = connect({ host: target.host, port: target.port, lookup: lookupByCache, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    const fail = (why: string): void => {
      timer.cancel();
      caller.off('close', onCallerGone);
      socket.destroy();
      resolve(why);
    };
    const timer = clock.setTimer(limitMs, () => fail(`no connection within ${limitMs} ms`));
    const onCallerGone = (): void => fail('the caller is gone');
    caller.once('close', onCallerGone);
    const onError = (error: unknown): void => fail(messageOf(error));
    socket.once('error', onError);
    socket.once('connect', () => {
      timer.cancel();
      caller.off('close', onCallerGone);
      socket.off('error', onError);
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}
