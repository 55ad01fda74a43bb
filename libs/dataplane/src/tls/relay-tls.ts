// Moves bytes between a plain connection and a mutual TLS one: half-close kept, resets passed on, back-pressure by pipe.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { resetMutualTls } from './mutual-tls.ts';

export type RelayOptions = {
  /** Neither direction moved a byte for so long: both are closed. */
  readonly idleMs: number;
};

export type RelayEnd = 'complete' | 'reset' | 'idle';

/**
 * Relays until both directions have ended. An end on one side is passed on as an end, the other direction goes on
 * (reliability row 54); a reset or an error on one side is a reset on the other (row 55). Both sockets must allow
 * half-open. Resolves when both are closed; never throws. **Bounds** memory: the sockets' own buffers.
 */
export function relayTls(a: Socket, b: Socket, options: RelayOptions): Promise<RelayEnd> {
  return new Promise((resolve) => {
    let end: RelayEnd = 'complete';
    let open = 2;
    const abort = (why: RelayEnd): void => {
      if (end === 'complete') end = why;
      reset(a);
      reset(b);
    };
    for (const [from, to] of [[a, b], [b, a]] as const) {
      from.setTimeout(options.idleMs, () => abort('idle'));
      from.on('error', () => abort('reset'));
      from.once('close', () => {
        // Closed without having ended its direction: cut off, not complete.
        if (!from.readableEnded || !from.writableFinished) abort('reset');
        open -= 1;
        if (open === 0) resolve(end);
      });
      from.pipe(to);
    }
    if (a.destroyed || b.destroyed) abort('reset');
  });
}

function reset(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket instanceof TLSSocket) resetMutualTls(socket);
  else socket.resetAndDestroy();
}
