// Moves bytes between two connections: half-close kept, resets passed on, back-pressure both ways.
import type { ByteStream } from '../transport/transport.ts';

export type RelayOptions = {
  /** Neither direction moved a byte for so long: both are closed. */
  readonly idleMs: number;
  readonly reset: (stream: ByteStream) => void;
};

export type RelayEnd = 'complete' | 'reset' | 'idle';

/**
 * Relays until both directions have ended. An end on one side is passed on as an end, the other direction goes on
 * (reliability row 54); a reset or an error on one side is a reset on the other (row 55). Both streams must allow
 * half-open. `done` is called once, when both are closed. **Bounds** memory: the streams' own buffers and one read.
 */
export function relay(a: ByteStream, b: ByteStream, options: RelayOptions, done: (end: RelayEnd) => void): void {
  let end: RelayEnd = 'complete';
  let open = 2;
  const abort = (why: RelayEnd): void => {
    if (end === 'complete') end = why;
    for (const stream of [a, b]) if (!stream.destroyed) options.reset(stream);
  };
  for (const [from, to] of [[a, b], [b, a]] as const) {
    from.setTimeout(options.idleMs, () => abort('idle'));
    from.on('error', () => abort('reset'));
    from.once('close', () => {
      // Closed without having ended its direction: cut off, not complete.
      if (!from.readableEnded || !from.writableFinished) abort('reset');
      open -= 1;
      if (open === 0) done(end);
    });
    from.on('end', () => to.end());
    to.on('drain', () => from.resume());
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
  }
  if (a.destroyed || b.destroyed) {
    open = 0;
    for (const stream of [a, b]) if (!stream.destroyed) options.reset(stream);
    done('reset');
  }
}
