// For tests of proxies: every thread that is started while they run, and what they opened, closed in reverse at their end.
import { after } from 'node:test';
import type { Worker } from 'node:worker_threads';

/** Watches from now to the end of the test file. `threads` may be emptied to count anew; `closers` are called in reverse then. */
export function watchThreads(): { readonly threads: Worker[]; readonly closers: (() => Promise<unknown> | void)[] } {
  const threads: Worker[] = [];
  const closers: (() => Promise<unknown> | void)[] = [];
  const note = (worker: Worker): number => threads.push(worker);
  process.on('worker', note);
  after(async () => {
    process.off('worker', note);
    for (const close of closers.toReversed()) await close();
  });
  return { threads, closers };
}
