// Calls made again where that can help: what cannot be reached now, within the operation's limit and the provider's budget.
import { ERROR_CLASSES, IsthmusError } from '@isthmus/model';
import { backoff, type Clock, type Random, type RetryBudget } from '@isthmus/runtime';
import { fail } from '../errors.ts';

const BASE_MS = 200;
const MAX_WAIT_MS = 5_000;

export type RetryParts = { readonly clock: Pick<Clock, 'sleep'>; readonly random: Random; readonly budget: RetryBudget };

/** Whether the same call may do better later. */
export function isPassing(error: unknown): boolean {
  return error instanceof IsthmusError && ERROR_CLASSES[error.class].retry;
}

/**
 * Calls until it is answered, refused for good, or the signal ends it; between tries it waits by the backoff. An empty
 * budget sends nothing but waits on: many resources in one outage together send little more than one would.
 * **Throws** the last failure, or the signal's reason where nothing was tried; TERRAFORM_UNANSWERED for one that says who
 * may not, after a try without an answer: whether that one was done it does not say.
 */
export async function withRetries<T>(attempt: () => Promise<T>, parts: RetryParts, signal: AbortSignal): Promise<T> {
  const waits = backoff({ baseMs: BASE_MS, maxMs: MAX_WAIT_MS, random: parts.random });
  parts.budget.deposit();
  let isUnanswered = false;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw isUnanswered ? unanswered(error) : error;
      isUnanswered ||= !isUndone(error);
      await nextTry(parts, waits.nextMs, signal, error);
    }
  }
}

/** Told to come later, which is judged before anything is done; or no connection was made: the dialler's own failure, below what `fetch` makes of it. */
function isUndone(error: unknown): boolean {
  if (error instanceof IsthmusError && error.class === 'exhausted') return true;
  const dialling = error instanceof Error && error.cause instanceof Error ? error.cause.cause : undefined;
  return dialling instanceof IsthmusError && dialling.code === 'RPC_UNAVAILABLE';
}

/** Who may is judged before the key of an earlier try is looked at; everything else is said of the write itself. */
function unanswered(error: unknown): unknown {
  if (!(error instanceof IsthmusError) || (error.class !== 'unauthenticated' && error.class !== 'denied')) return error;
  return fail('TERRAFORM_UNANSWERED', `${error.message}; an earlier try was not answered and may have been done`, { ...(error.hint !== undefined && { hint: error.hint }), cause: error });
}

async function nextTry({ clock, budget }: RetryParts, nextMs: () => number, signal: AbortSignal, last: unknown): Promise<void> {
  do {
    await clock.sleep(nextMs(), signal).catch(() => {
      // The limit says that it was too long, the last failure says why: the latter helps more.
      throw last;
    });
  } while (!budget.withdraw());
}
