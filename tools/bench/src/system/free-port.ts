// A port nobody has, for programs that must be told theirs.
import { type AddressInfo, createServer } from 'node:net';

/** A free TCP port on loopback. Another program may take it before it is used; nothing on a quiet machine does. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
