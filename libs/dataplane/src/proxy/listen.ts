// Binds a port, and says clearly which one it was when that fails.
import type { Server } from 'node:net';
import { messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';

/** Port 0 takes any free one. */
export type ListenAddress = { readonly host: string; readonly port: number };

/** Listens and gives the bound address. **Throws** DATAPLANE_LISTEN_FAILED naming what wanted which port, and why not. */
export async function listenOn(server: Server, listen: ListenAddress, what: string): Promise<{ readonly host: string; readonly port: number }> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const why = error.code === 'EADDRINUSE' ? 'the port is in use by another program' : error.code === 'EACCES' ? 'ports below 1024 need a privilege' : messageOf(error);
      reject(fail('DATAPLANE_LISTEN_FAILED', `${what} cannot listen on ${listen.host}:${listen.port}: ${why}`, {
        cause: error,
        facts: { host: listen.host, port: listen.port },
        hint: `free the port (ss -ltnp 'sport = :${listen.port}' shows who has it) or configure another`,
      }));
    };
    server.once('error', onError);
    server.listen({ host: listen.host, port: listen.port }, () => {
      server.off('error', onError);
      server.on('error', () => undefined); // EMFILE and the like on accept: that connection is lost, the listener stays
      resolve();
    });
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : listen.port;
  return { host: listen.host, port };
}
