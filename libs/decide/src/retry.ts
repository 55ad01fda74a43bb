// Whether a request that failed may be sent once more, elsewhere.

export type RetryQuestion = {
  readonly method: string;
  /**
   * What the endpoint may have seen: `nothing` (no byte was sent), `unprocessed` (it said itself that the application
   * never saw it), or `some`.
   */
  readonly sent: 'nothing' | 'unprocessed' | 'some';
  /** The caller has been given the beginning of an answer. */
  readonly isAnswered: boolean;
  /** The body, if there is one, can be sent from its beginning again. */
  readonly isReplayable: boolean;
  /** Attempts made so far, and how many there may be. */
  readonly attempt: number;
  readonly attempts: number;
  /** Takes one retry out of the budget; asked only where everything else allows it, and a retry would repeat work. */
  readonly withdraw: () => boolean;
};

export type RetryVerdict = 'yes' | 'answered' | 'attempts-spent' | 'not-replayable' | 'not-idempotent' | 'budget-spent';

// Source: RFC 9110 §9.2.2. Methods are case-sensitive (§9.1).
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/**
 * A request that cannot have been processed may always be sent again; one that may have been only if its method is
 * idempotent and the budget allows it (a retry storm is what a budget stops, reliability 63); an answer that has begun
 * never is.
 */
export function mayRetry(q: RetryQuestion): RetryVerdict {
  if (q.isAnswered) return 'answered';
  if (q.attempt >= q.attempts) return 'attempts-spent';
  if (!q.isReplayable) return 'not-replayable';
  if (q.sent !== 'some') return 'yes';
  if (!IDEMPOTENT.has(q.method)) return 'not-idempotent';
  return q.withdraw() ? 'yes' : 'budget-spent';
}
