// What steps are written with: conditions that fail a step in words, and figures rounded for people.
import { systemClock } from '@isthmus/runtime';
import { fail } from '../../errors.ts';
import type { Load, LoadFacts } from '../traffic.ts';

/** Ends the step as failed, saying what did not hold. */
export function need(holds: boolean, what: string): asserts holds {
  if (!holds) throw fail('CLI_CHECK_FAILED', what);
}

/** Ends the step as failed where any request of a load failed. */
export function needNoFailure(facts: LoadFacts, when: string): void {
  need(facts.requests > 0, `no request was made ${when}`);
  need(facts.failures.length === 0, `${facts.failures.length} of ${facts.requests} requests failed ${when}, the first: ${facts.failures[0] ?? ''}`);
}

/** Resolves once `count` answers in a row came from the cluster; answers how long that took. Throws CLI_TIMEOUT's like after the limit. */
export async function answersFrom(load: Load, cluster: string, count: number, limitMs: number): Promise<{ readonly firstAfterMs: number }> {
  const startedMonotonicMs = systemClock.monotonicMs();
  let inARow = 0;
  let firstMonotonicMs: number | undefined;
  const done = Promise.withResolvers<void>();
  const unsubscribe = load.onOutcome((outcome, atMonotonicMs) => {
    if (!outcome.ok || outcome.cluster !== cluster) {
      inARow = 0;
      return;
    }
    firstMonotonicMs ??= atMonotonicMs;
    inARow += 1;
    if (inARow >= count) done.resolve();
  });
  const limit = systemClock.setTimer(limitMs, () => done.reject(fail('CLI_TIMEOUT', `${count} answers in a row from ${cluster} did not come within ${limitMs} ms`)));
  try {
    await done.promise;
    return { firstAfterMs: (firstMonotonicMs ?? startedMonotonicMs) - startedMonotonicMs };
  } finally {
    limit.cancel();
    unsubscribe();
  }
}

/** Milliseconds with one decimal, for details and figures. */
export function ms(value: number): number {
  return Math.round(value * 10) / 10;
}

/** `east 812, west 12`. */
export function formatCounts(byCluster: Readonly<Record<string, number>>): string {
  return Object.entries(byCluster).map(([cluster, count]) => `${cluster} ${count}`).join(', ');
}
