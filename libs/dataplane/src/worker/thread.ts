// A worker thread that runs a loop: started within a limit, woken by its descriptor, cleaned up after when it dies.
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import * as libc from '../transport/linux/libc.ts';
import { keepRequestsYoung } from './young.ts';

/** Most descriptors a thread is cleaned up after. */
const DESCRIPTORS = 1 << 20;
const READY_LIMIT_MS = 10_000;
/** Connections make short-lived objects: with more room they die before they are looked at. */
const YOUNG_GENERATION_MB = 48;

export type ThreadOptions<Out> = {
  readonly script: URL;
  /** Given to the worker, together with `descriptors`. */
  readonly data: object;
  readonly onMessage: (message: Out) => void;
  /** The thread is no more, and nothing of it is left open. Not called for one that never came up. */
  readonly onExit: (error: Error | undefined) => void;
  readonly clock: Clock;
};

export interface Thread<In> {
  post(message: In): void;
  /** Ends it at once. */
  kill(): void;
  readonly ended: Promise<void>;
}

type Ready = { readonly kind: 'ready'; readonly wakeFd: number };

/** Starts a thread and waits until its loop runs. **Throws** DATAPLANE_ENGINE_UNAVAILABLE when it does not come up. */
export async function startThread<In, Out extends { readonly kind: string }>(options: ThreadOptions<Out>): Promise<Thread<In>> {
  const descriptors = new SharedArrayBuffer(DESCRIPTORS);
  const ready = Promise.withResolvers<number>();
  const ended = Promise.withResolvers<void>();
  // What this process was told on its command line is for its main thread; here it would go before the limit below.
  setFlagsFromString('--max-semi-space-size=0');
  keepRequestsYoung();
  const worker = new Worker(options.script, { workerData: { ...options.data, descriptors }, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB } });
  let wakeFd = -1;
  let why: Error | undefined;
  worker.on('message', (message: Out | Ready) => {
    if (message.kind === 'ready') ready.resolve((message as Ready).wakeFd);
    else options.onMessage(message as Out);
  });
  worker.on('error', (error) => (why = error instanceof Error ? error : new Error(String(error))));
  worker.on('exit', (code) => {
    const wasUp = wakeFd >= 0;
    wakeFd = -1;
    closeLeft(descriptors);
    ready.reject(fail('DATAPLANE_ENGINE_UNAVAILABLE', `a data-plane thread did not start: ${why === undefined ? `it ended with ${code}` : messageOf(why)}`, { cause: why }));
    ended.resolve();
    if (wasUp) options.onExit(why);
  });
  const late = Promise.withResolvers<never>();
  // A thread that loads native code must not be terminated meanwhile: that aborts the process. It goes once it is up.
  const timer = options.clock.setTimer(READY_LIMIT_MS, () => {
    ready.promise.then(() => worker.terminate(), () => undefined);
    late.reject(fail('DATAPLANE_ENGINE_UNAVAILABLE', `a data-plane thread did not start within ${READY_LIMIT_MS} ms`));
  });
  try {
    wakeFd = await Promise.race([ready.promise, late.promise]);
  } finally {
    timer.cancel();
  }
  return {
    post: (message) => {
      if (wakeFd < 0) return;
      worker.postMessage(message, []);
      libc.signalEventFd(wakeFd); // it sleeps in epoll_wait, where no message is heard
    },
    kill: () => void worker.terminate(),
    ended: ended.promise,
  };
}

/**
 * What a thread that died left open. Nobody else owns these: the thread marked each of its own and no other. Connections
 * are reset: cut off in the middle, they must not look complete (reliability 55).
 */
function closeLeft(descriptors: SharedArrayBuffer): void {
  const owned = new Uint8Array(descriptors);
  for (let fd = owned.indexOf(1); fd >= 0; fd = owned.indexOf(1, fd + 1)) {
    libc.resetOnClose(fd); // of no effect on pipes and the like
    libc.close(fd);
  }
}
