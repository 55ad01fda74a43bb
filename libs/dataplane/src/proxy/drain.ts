// Lets connections end by themselves, within a limit.
import type { Clock } from '@isthmus/runtime';
import type { Front } from '../http/front.ts';
import type { ByteStream } from '../transport/transport.ts';

/** A connection that is idle may have a request on its way; for so long it is answered rather than cut off. */
const QUIET_MS = 500;
const LOOK_MS = 25;

/**
 * Resolves when no connection is left or the limit is over. At first requests still come in and are told to use another
 * connection next; then idle connections are closed (reliability row 66).
 */
export async function drained(open: ReadonlySet<ByteStream>, http: Front, drainMs: number, clock: Clock): Promise<void> {
  const startedMs = clock.monotonicMs();
  http.drain();
  for (;;) {
    const elapsedMs = clock.monotonicMs() - startedMs;
    if (open.size === 0 || elapsedMs >= drainMs) return;
    if (elapsedMs >= QUIET_MS) http.drainIdle();
    await clock.sleep(Math.min(LOOK_MS, drainMs - elapsedMs));
  }
}
