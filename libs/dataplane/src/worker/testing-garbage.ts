// For tests: a thread that makes objects which live long, then the same which do not, and says how many of the latter V8 put among the old.
import { getHeapSpaceStatistics } from 'node:v8';
import { parentPort } from 'node:worker_threads';
import { openEventFd } from '../transport/linux/libc.ts';

const KEPT = 500_000;
const DROPPED = 200_000;
/** Those kept before may still leave their mark on the first ones. */
const SETTLING = 300_000;
const BATCH = 5_000;

type Made = { readonly first: number; readonly second: number; readonly list: readonly number[]; readonly none: undefined };

// Four of the same: V8 learns for each place by itself how long its objects live.
const MAKERS: readonly ((i: number) => Made)[] = [
  (i) => ({ first: i, second: i + 1, list: [i, i], none: undefined }),
  (i) => ({ first: i, second: i + 2, list: [i, i], none: undefined }),
  (i) => ({ first: i, second: i + 3, list: [i, i], none: undefined }),
  (i) => ({ first: i, second: i + 4, list: [i, i], none: undefined }),
];

const oldBytes = (): number => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space')?.space_used_size ?? 0;

/** Bytes by which old space grew while `DROPPED` objects were made, of which 32 at a time were in use. */
function growthBytes(make: (i: number) => Made): number {
  let kept: Made[] = [];
  for (let i = 0; i < KEPT; i++) kept.push(make(i));
  kept = [];
  const inUse: Made[] = [];
  for (let i = 0; i < SETTLING; i++) inUse[i % 32] = make(i);
  let grown = 0;
  let last = oldBytes();
  for (let made = 0; made < DROPPED; made += BATCH) {
    for (let i = 0; i < BATCH; i++) inUse[i % 32] = make(i);
    const now = oldBytes();
    if (now > last) grown += now - last;
    last = now;
  }
  return grown;
}

if (parentPort === null) throw new Error('testing-garbage.ts is started by a test as a worker thread');
const port = parentPort;
port.postMessage({ kind: 'ready', wakeFd: openEventFd() });
port.postMessage({ kind: 'grown', bytes: MAKERS.map(growthBytes) });
