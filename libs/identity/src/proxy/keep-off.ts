// Renewing what hangs on a root that retires: told once, spread over the time given, again until it no longer does.
import type { RenewHint } from '@isthmus/model';
import type { X509Svid } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import { rootOf } from '../root-of.ts';

/** An SVID that can be renewed. */
export type Holder = { current(): X509Svid | undefined; renewNow(): Promise<void> };

const AGAIN_MS = 1_000;
const MAX_SPREAD_MS = 600_000;

export interface KeepOff {
  hint(hint: RenewHint): void;
  /** Looks again: a holder has another SVID, maybe an old one from disk that came after the hint. */
  look(): void;
  close(): void;
}

/** Keeps `holders` off the roots of the last hint until closed. `authorities` are the roots their chains may end in. */
export function openKeepOff(options: {
  readonly holders: () => readonly Holder[];
  readonly authorities: () => readonly string[];
  readonly clock: Clock;
  readonly random: Random;
}): KeepOff {
  const { holders, authorities, clock, random } = options;
  let retiring: ReadonlySet<string> = new Set();
  let timer: { cancel(): void } | undefined;
  let isClosed = false;

  const old = (): readonly Holder[] =>
    holders().filter((h) => {
      const root = rootOf(h.current()?.chain ?? [], authorities());
      return root !== undefined && retiring.has(root);
    });
  const renewIn = (delayMs: number): void => {
    timer?.cancel();
    timer = undefined;
    if (isClosed || retiring.size === 0 || old().length === 0) return;
    timer = clock.setTimer(delayMs, () => {
      void Promise.all(old().map((h) => h.renewNow())).then(() => renewIn(AGAIN_MS * (1 + random())));
    });
  };
  return {
    hint: (hint) => {
      retiring = new Set(hint.retiring);
      renewIn(random() * Math.min(hint.spreadMs, MAX_SPREAD_MS));
    },
    look: () => {
      if (timer === undefined) renewIn(AGAIN_MS * random());
    },
    close: () => {
      isClosed = true;
      timer?.cancel();
    },
  };
}
