// A link between clusters that can be cut: a TCP relay in front of a port.
import { connect, createServer, type Socket } from 'node:net';

export interface Link {
  /** Where the link is entered. */
  readonly port: number;
  /** Ends what is open and lets nothing through; `refuse` resets newcomers, `swallow` takes them and says nothing (a cable cut). */
  cut(how: 'refuse' | 'swallow'): void;
  heal(): void;
  close(): Promise<void>;
}

/** Opens a link to a port of this machine. */
export async function startLink(to: number, port = 0): Promise<Link> {
  let state: 'whole' | 'refuse' | 'swallow' = 'whole';
  const open = new Set<Socket>();
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => open.delete(socket));
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    track(near);
    if (state === 'refuse') return void near.resetAndDestroy();
    if (state === 'swallow') return void near.resume();
    const far = connect({ host: '127.0.0.1', port: to, allowHalfOpen: true });
    track(far);
    near.pipe(far);
    far.pipe(near);
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : port,
    cut: (how) => {
      state = how;
      for (const socket of open) {
        // A cut cable tells nobody; both ends stay open and hear nothing more.
        if (how === 'swallow') socket.unpipe();
        else socket.resetAndDestroy();
      }
    },
    heal: () => {
      state = 'whole';
      // What was in flight when the cable was cut is lost: both ends find out now.
      for (const socket of open) socket.resetAndDestroy();
    },
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
