// Waits for connections to end by themselves, within a limit.
import type { Socket } from 'node:net';
import type { Clock } from '@isthmus/runtime';

/** Resolves when the set is empty or the limit is over; `again` runs at each look. */
export async function drained(open: ReadonlySet<Socket>, again: () => void, drainMs: number, clock: Clock): Promise<void> {
  const untilMs = clock.monotonicMs() + drainMs;
  if (drainMs > 0) again();
  while (open.size > 0 && clock.monotonicMs() < untilMs) {
    await clock.sleep(Math.min(50, Math.max(1, untilMs - clock.monotonicMs())));
    again();
  }
}
