// Ports that nobody has, for programs that must be told theirs and for what must find nobody at home.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Systems give 32768 and up (RFC 6335: 49152) to outgoing connections and to who listens on port 0: a port from there may be
 * somebody's a moment later. Above 12000 lie the blocks of ports of demos.
 */
const LOWEST = 4_000;
const HIGHEST = 12_000;
const ATTEMPTS = 100;

/** A TCP port of loopback that nobody listens on. Another program may ask for it by its number; none is given it. **Throws** when it finds none. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!given.has(port) && (await isFree(port))) {
      given.add(port);
      return port;
    }
  }
  throw new Error(`no free port from ${LOWEST} to ${HIGHEST} in ${ATTEMPTS} attempts`);
}

/** As many ports as are asked for, no two the same. **Throws** when it finds too few. */
export async function freePorts(count: number): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, freePort));
}

/** What this process has handed out: whoever asked may listen there only later. */
const given = new Set<number>();

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
