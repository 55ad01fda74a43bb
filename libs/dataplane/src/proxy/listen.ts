// Binds a port, and says clearly which one it was when that fails.
import type { Server } from 'node:net';
import { messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';

/**
 * Port 0 takes any free one. `sharesPort`: the `first` of a port takes it alone and lets successors join, one that
 * `joins` listens beside a predecessor; without it the port is shared with nobody. The portable engine never shares.
 * `heldFd`: the port is a `HeldPort` of this process, on whose socket the Linux engine then accepts.
 */
export type ListenAddress = { readonly host: string; readonly port: number; readonly sharesPort?: 'first' | 'joins'; readonly heldFd?: number };

/** Says which port it was, what wanted it, and why it cannot have it. `why`: a system error by name, or words. */
export function listenFailed(what: string, listen: ListenAddress, why: string, cause?: unknown): Error {
  const words = why === 'EADDRINUSE' ? 'the port is in use by another program' : why === 'EACCES' ? 'ports below 1024 need a privilege' : why;
  return fail('DATAPLANE_LISTEN_FAILED', `${what} cannot listen on ${listen.host}:${listen.port}: ${words}`, {
    ...(cause === undefined ? {} : { cause }),
    facts: { host: listen.host, port: listen.port },
    hint: `free the port (ss -ltnp 'sport = :${listen.port}' shows who has it) or configure another`,
  });
}

/** Listens and gives the bound address. **Throws** DATAPLANE_LISTEN_FAILED naming what wanted which port, and why not. */
export async function listenOn(server: Server, listen: ListenAddress, what: string, reusePort = false): Promise<{ readonly host: string; readonly port: number }> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(listenFailed(what, listen, error.code ?? messageOf(error), error));
    server.once('error', onError);
    server.listen({ host: listen.host, port: listen.port, reusePort }, () => {
      server.off('error', onError);
      server.on('error', () => undefined); // EMFILE and the like on accept: that connection is lost, the listener stays
      resolve();
    });
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : listen.port;
  return { host: listen.host, port };
}
