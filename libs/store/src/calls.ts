// Time limits and retries of single calls: reads are asked again, writes only when they certainly were not done.
import type { Clock, Random } from '@isthmus/runtime';
import { fail } from './errors.ts';
import { type Fault, faultKind, type FaultKind, faultOf } from './link.ts';
import type { StoreMetrics } from './metrics.ts';

export interface CallParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly timeoutMs: number;
  readonly metrics: StoreMetrics;
}

const FIRST_WAIT_MS = 20;
const MAX_WAIT_MS = 500;

/** A fault the caller of `read` handles itself. */
export class ReadFault extends Error {
  readonly kind: FaultKind;

  constructor(kind: FaultKind, details: string) {
    super(details);
    this.name = 'ReadFault';
    this.kind = kind;
  }
}

/**
 * Runs a read until it is answered or the time is up; each attempt has half the time, so that one member which takes
 * calls and does not answer them is not waited for to the end. **Throws** STORE_UNAVAILABLE, STORE_DENIED, STORE_REFUSED; ReadFault for
 * compacted, future-revision and too-large.
 */
export async function read<T>(parts: CallParts, what: string, attempt: (deadlineMs: number) => Promise<T>): Promise<T> {
  return run(parts, what, parts.timeoutMs / 2, attempt, (kind, fault) => {
    if (kind === 'unclear' || kind === 'not-done') return undefined;
    if (kind === 'compacted' || kind === 'future-revision' || kind === 'too-large') return new ReadFault(kind, fault.details);
    return refusal(what, kind, fault);
  });
}

/** Runs a write; it is sent again only if it certainly was not done. **Throws** as Store.put. */
export async function write<T>(parts: CallParts, what: string, attempt: (deadlineMs: number) => Promise<T>): Promise<T> {
  return run(parts, what, parts.timeoutMs, attempt, (kind, fault) => {
    if (kind === 'not-done') return undefined;
    if (kind === 'unclear') {
      return fail('STORE_OUTCOME_UNKNOWN', `no answer to ${what}, which may have been done: ${fault.details}`, {
        hint: 'Read the key before trying again.',
        facts: { grpc: fault.code },
      });
    }
    return refusal(what, kind, fault);
  });
}

async function run<T>(
  parts: CallParts,
  what: string,
  attemptMs: number,
  attempt: (deadlineMs: number) => Promise<T>,
  judge: (kind: FaultKind, fault: Fault) => Error | undefined,
): Promise<T> {
  const { clock, random, metrics } = parts;
  const endMonotonicMs = clock.monotonicMs() + parts.timeoutMs;
  for (let tries = 0; ; tries++) {
    const leftMs = endMonotonicMs - clock.monotonicMs();
    let fault: Fault;
    try {
      return await attempt(clock.nowMs() + Math.min(leftMs, attemptMs));
    } catch (error) {
      fault = faultOf(error);
      const kind = faultKind(fault);
      const final = judge(kind, fault);
      if (final !== undefined) {
        metrics.callFailures.inc({ call: what, kind });
        throw final;
      }
    }
    const waitMs = random() * Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** tries);
    if (clock.monotonicMs() + waitMs >= endMonotonicMs) {
      metrics.callFailures.inc({ call: what, kind: 'unavailable' });
      throw fail('STORE_UNAVAILABLE', `the store did not take ${what} within ${parts.timeoutMs} ms: ${fault.details}`, { facts: { grpc: fault.code } });
    }
    await clock.sleep(waitMs);
  }
}

function refusal(what: string, kind: FaultKind, { code, details }: Fault): Error {
  const options = { facts: { grpc: code } };
  switch (kind) {
    case 'lease-not-found':
      return fail('STORE_LEASE_LOST', `${what} was under a lease the store no longer has`, options);
    case 'no-space':
      return fail('STORE_FULL', `the store is full and did not take ${what}: ${details}`, options);
    case 'too-large':
      return fail('STORE_TOO_LARGE', `${what} is over the store's limits: ${details}`, options);
    case 'denied':
      return fail('STORE_DENIED', `the store refuses ${what}: ${details}`, options);
    default:
      return fail('STORE_REFUSED', `the store refuses ${what}: ${details}`, options);
  }
}
