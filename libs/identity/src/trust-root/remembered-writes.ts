// Writes of the trust root that are remembered by a key, in the same durable state as the change itself: a second one has no effect.
import { AsyncLocalStorage } from 'node:async_hooks';
import { sha256Hex } from '@isthmus/pki';
import { fail } from '../errors.ts';
import { openSerial } from '../serial.ts';
import type { TrustRootState } from './state.ts';

/** How a caller wants its write done. `fingerprint` is what it writes, in words that differ where the writes do. */
export type WriteTerms = { readonly caller: string; readonly idempotencyKey: string; readonly dryRun: boolean; readonly fingerprint: string };

/** `outcome`: what the write told of itself, never a secret. */
export type WriteAnswer<T> = { readonly how: 'done'; readonly value: T } | { readonly how: 'replayed'; readonly outcome: Readonly<Record<string, string | number>> } | { readonly how: 'tried' };

type RememberedWrite = NonNullable<TrustRootState['writes']>[number];
type Underway = { readonly terms: WriteTerms; outcome: Readonly<Record<string, string | number>>; isKept: boolean };

/** How long a write is remembered. */
export const REMEMBERED_MS = 24 * 3_600_000;
/** So many at once; then writes with a new key are refused, since forgetting one could do a write twice. */
const MAX_REMEMBERED = 1_000;
const MAX_KEY_CHARS = 255;

/** Thrown by a write that was only tried, once all of it is checked. */
class Tried extends Error {}

/** The state that also remembers this write. */
export function withWrite(state: TrustRootState, write: RememberedWrite): TrustRootState {
  return { ...state, writes: [...(state.writes ?? []).filter((w) => w.key !== write.key), write] };
}

/** The state without writes whose day is over. */
export function withoutOldWrites(state: TrustRootState, nowMs: number): TrustRootState {
  return state.writes?.some((w) => w.expiresAtMs <= nowMs) === true ? { ...state, writes: state.writes.filter((w) => w.expiresAtMs > nowMs) } : state;
}

/** Which write is under way, so that the commit it leads to can remember it; one with a key after another. */
export class RememberedWrites {
  readonly #underway = new AsyncLocalStorage<Underway>();
  readonly #serial = openSerial();

  /**
   * Does the work once for its key. `keep` commits the memory of a write that changed nothing.
   * **Throws** IDENTITY_WRITE_KEY for a key that was used for another write, is too long or one too many; what the work throws is not remembered.
   */
  once<T>(terms: WriteTerms, root: { readonly current: () => TrustRootState; readonly nowMs: () => number; readonly keep: () => Promise<void> }, work: () => Promise<T>): Promise<WriteAnswer<T>> {
    const perform = async (): Promise<WriteAnswer<T>> => {
      const earlier = earlierWrite(root.current(), terms, root.nowMs());
      if (earlier !== undefined) return { how: 'replayed', outcome: earlier.outcome };
      const underway: Underway = { terms, outcome: {}, isKept: terms.idempotencyKey === '' };
      return this.#underway.run(underway, async () => {
        try {
          const value = await work();
          if (terms.dryRun) return { how: 'tried' };
          if (!underway.isKept) await root.keep();
          return { how: 'done', value };
        } catch (error) {
          if (error instanceof Tried) return { how: 'tried' };
          throw error;
        }
      });
    };
    return terms.idempotencyKey === '' || terms.dryRun ? perform() : this.#serial(perform);
  }

  /** What the write under way tells whoever repeats it; never a secret. */
  tell(outcome: Readonly<Record<string, string | number>>): void {
    const underway = this.#underway.getStore();
    if (underway !== undefined) underway.outcome = outcome;
  }

  /** The state that is to be committed, with the memory of the write it comes of. Ends a write that is only tried. */
  remember(next: TrustRootState, nowMs: number): TrustRootState {
    const underway = this.#underway.getStore();
    if (underway === undefined) return next;
    const { terms, outcome, isKept } = underway;
    if (terms.dryRun) throw new Tried();
    return isKept ? next : withWrite(next, { key: keyOf(terms), fingerprint: sha256Hex(Buffer.from(terms.fingerprint)), expiresAtMs: nowMs + REMEMBERED_MS, outcome });
  }

  /** Called once the state that `remember` made is durable: what follows in the same breath is another change. */
  kept(): void {
    const underway = this.#underway.getStore();
    if (underway !== undefined) underway.isKept = true;
  }
}

/** Callers do not share their keys. */
function keyOf({ caller, idempotencyKey }: WriteTerms): string {
  return sha256Hex(Buffer.from(JSON.stringify([caller, idempotencyKey])));
}

function earlierWrite(state: TrustRootState, terms: WriteTerms, nowMs: number): RememberedWrite | undefined {
  if (terms.idempotencyKey === '' || terms.dryRun) return undefined;
  if (terms.idempotencyKey.length > MAX_KEY_CHARS) throw fail('IDENTITY_WRITE_KEY', `the idempotency key is longer than ${MAX_KEY_CHARS} characters`);
  const live = (state.writes ?? []).filter((w) => w.expiresAtMs > nowMs);
  const found = live.find((w) => w.key === keyOf(terms));
  if (found === undefined) {
    if (live.length >= MAX_REMEMBERED) throw fail('IDENTITY_WRITE_KEY', `${MAX_REMEMBERED} writes with idempotency keys are remembered already`, { hint: 'write without a key, or later' });
    return undefined;
  }
  if (found.fingerprint !== sha256Hex(Buffer.from(terms.fingerprint))) throw fail('IDENTITY_WRITE_KEY', 'the idempotency key was used for another write', { hint: 'use a new key for each write' });
  return found;
}
