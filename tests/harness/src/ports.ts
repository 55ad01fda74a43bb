// Blocks of ports for federations side by side, below the range the system hands to outgoing connections.
import { checkPortsFree } from '@isthmus/cli/demo';

/** Linux gives outgoing connections 32768 and up; a port from there could be taken between the look and the listening. */
const LOWEST = 12_000;
const HIGHEST = 32_000;
const BLOCK = 200;
const TRIES = 50;

/** A block of 200 ports nobody listens on; which one depends on the process, so that test files beside each other differ. */
export async function reservePorts(): Promise<{ readonly from: number; readonly to: number }> {
  const blocks = (HIGHEST - LOWEST) / BLOCK;
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const from = LOWEST + ((process.pid * 7 + taken + attempt * 13) % blocks) * BLOCK;
    const wanted = Object.fromEntries(Array.from({ length: BLOCK }, (_, i) => [`block ${i}`, from + i]));
    if (await checkPortsFree(wanted).then(() => true, () => false)) {
      taken += 1;
      return { from, to: from + BLOCK - 1 };
    }
  }
  throw new Error(`no block of ${BLOCK} free ports between ${LOWEST} and ${HIGHEST}`);
}

let taken = 0;
