// Blocks of ports for federations side by side, below the range the system hands to outgoing connections.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { checkPortsFree } from '@isthmus/cli/demo';

/** Linux gives outgoing connections 32768 and up; a port from there could be taken between the look and the listening. */
const LOWEST = 12_000;
const HIGHEST = 32_000;
const BLOCK = 200;
const TRIES = 50;

/** Who listens on this port plus the block's number holds the block: nobody listens inside it yet when it is given out. */
const CLAIMS_FROM = HIGHEST;

/** A block of 200 ports nobody listens on, and which no other test process is given as long as this one lives. */
export async function reservePorts(): Promise<{ readonly from: number; readonly to: number }> {
  const blocks = (HIGHEST - LOWEST) / BLOCK;
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const block = (process.pid * 7 + taken + attempt * 13) % blocks;
    if (!(await claim(CLAIMS_FROM + block))) continue;
    const from = LOWEST + block * BLOCK;
    const wanted = Object.fromEntries(Array.from({ length: BLOCK }, (_, i) => [`block ${i}`, from + i]));
    if (await checkPortsFree(wanted).then(() => true, () => false)) {
      taken += 1;
      return { from, to: from + BLOCK - 1 };
    }
  }
  throw new Error(`no block of ${BLOCK} free ports between ${LOWEST} and ${HIGHEST}`);
}

/** Whether this process now holds the port; it does to its end. */
async function claim(port: number): Promise<boolean> {
  const server = createServer().listen({ port, host: '127.0.0.1', exclusive: true });
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.unref();
  return true;
}

let taken = 0;
