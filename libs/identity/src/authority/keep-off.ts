// Gets a control plane off a root that retires: its intermediate, or its own SVID that was made before it, is renewed until nothing hangs there.
import type { LiveRoot } from '@isthmus/model';
import type { Clock, Random } from '@isthmus/runtime';
import type { RootMark } from './state.ts';

const SPREAD_MS = 200;
const AGAIN_MS = 1_000;

export type KeepOffOptions = {
  readonly clock: Clock;
  readonly random: Random;
  /** What becomes of each root, as last heard. */
  readonly roots: () => readonly RootMark[];
  /** SHA-256 of the roots that the intermediate in force and the one on disk hang on. */
  readonly slotRoots: () => readonly string[];
  /** What else of this process is good still, by its root. */
  readonly live: () => readonly LiveRoot[];
  readonly renewSlot: () => Promise<void>;
  readonly renewSvid: () => Promise<void>;
};

export interface KeepOffRetiring {
  /** Looks now; where something hangs on a root that retires, it is renewed at once, and looked at again until it does not. */
  look(): void;
  close(): void;
}

export function openKeepOffRetiring(options: KeepOffOptions): KeepOffRetiring {
  const { clock, random } = options;
  let timer: { cancel(): void } | undefined;
  let isClosed = false;
  const look = (): void => {
    const retiring = new Set(options.roots().flatMap((root) => (root.state === 'retiring' ? [root.sha256] : [])));
    if (retiring.size === 0 || isClosed) return;
    const isSlotOld = options.slotRoots().some((sha256) => retiring.has(sha256));
    if (!isSlotOld && !options.live().some((live) => retiring.has(live.rootSha256))) return;
    const renew = isSlotOld ? options.renewSlot : options.renewSvid;
    timer?.cancel();
    timer = clock.setTimer(random() * SPREAD_MS, () => void renew().then(() => {
      // Not answered, or answered with the old one: tried again soon, as the timer of a renewal may be far.
      if (!isClosed) timer = clock.setTimer(AGAIN_MS, look);
    }));
  };
  return {
    look,
    close: () => {
      isClosed = true;
      timer?.cancel();
    },
  };
}
