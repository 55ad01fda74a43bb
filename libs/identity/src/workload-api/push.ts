// One open stream: says what is so now, and again at every change, as fast as its reader takes it.
import { toServiceError } from '@isthmus/rpc';
import { sha256Hex } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';

/** What a stream tells of. */
export type Subject<T> = {
  /** What there is to say; undefined while there is nothing. `isWhole` is false while more is about to come. */
  make(): { readonly answer: T; readonly isWhole: boolean } | undefined;
  readonly follow: readonly { onChange(fn: () => void): () => void }[];
  encode(answer: T): Uint8Array;
};

/** The server's side of a stream, as grpc-js has it. */
export type Sink<T> = {
  write(answer: T): boolean;
  emit(event: 'error', error: Error): boolean;
  on(event: 'drain' | 'cancelled' | 'close' | 'error', fn: () => void): unknown;
};

/** How long the first answer waits for identities that are being issued. */
export const FIRST_ANSWER_MS = 10_000;

/**
 * Tells `subject` until the caller leaves or `end` is called. A slow reader gets the newest and nothing in between; the
 * same answer is not sent twice. `onEnd` is called once.
 */
export function push<T>(sink: Sink<T>, subject: Subject<T>, options: { readonly clock: Clock; readonly onSent: () => void; readonly onEnd: () => void }): { end(): void } {
  const { clock, onSent, onEnd } = options;
  let isBlocked = false;
  let isDue = false;
  let isScheduled = false;
  let mayBePart = false;
  let lastSha256: string | undefined;
  let hasEnded = false;

  function say(): void {
    isScheduled = false;
    if (hasEnded) return;
    isDue = isBlocked;
    const made = isBlocked ? undefined : subject.make();
    if (made === undefined || !(made.isWhole || mayBePart || lastSha256 !== undefined)) return;
    const sha256 = sha256Hex(subject.encode(made.answer));
    if (sha256 === lastSha256) return;
    lastSha256 = sha256;
    isBlocked = !sink.write(made.answer);
    onSent();
  }
  // Several bundles change in one go: they are told in one answer.
  const changed = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(say);
  };
  const stops = subject.follow.map((source) => source.onChange(changed));
  const limit = clock.setTimer(FIRST_ANSWER_MS, () => {
    mayBePart = true;
    say();
    if (lastSha256 === undefined && !isBlocked) refuse('the control plane has issued no identity yet');
  });
  function stop(): void {
    if (hasEnded) return;
    hasEnded = true;
    limit.cancel();
    for (const unsubscribe of stops) unsubscribe();
    onEnd();
  }
  function refuse(why: string): void {
    if (hasEnded) return;
    stop();
    sink.emit('error', toServiceError(fail('WORKLOAD_API_NOT_READY', why)));
  }

  sink.on('drain', () => {
    isBlocked = false;
    if (isDue) say();
  });
  sink.on('cancelled', stop);
  sink.on('close', stop);
  sink.on('error', stop);
  say();
  return { end: () => refuse('the agent stops') };
}
