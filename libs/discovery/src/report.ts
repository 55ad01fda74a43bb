// What an agent tells of its workloads: only the latest state, whole at first, then what changed since it was last told.
import { nextSequence, type Registration } from '@isthmus/model';
import { fullKey, sameContent } from './registration.ts';

/** One message's worth. */
export type ReportMessage = { readonly full: boolean; readonly registrations: readonly Registration[]; readonly removed: readonly string[] };

/**
 * The latest state of an agent's workloads and what the present stream has been told of it. Nothing is said before the
 * first `set`: silence is not the word that there are none. **Bounds** two entries a workload.
 */
export class ReportState {
  readonly #nowMs: () => number;
  #latest: Map<string, Registration> | undefined;
  #told: Map<string, Registration> | undefined;
  #sequence = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Replaces the state; what changed gets the next sequence. */
  set(registrations: readonly Registration[]): void {
    const before = this.#latest;
    this.#latest = new Map(
      registrations.map((r) => {
        const key = fullKey(r);
        const held = before?.get(key);
        if (held !== undefined && sameContent(held, r)) return [key, held];
        this.#sequence = nextSequence(this.#sequence, this.#nowMs());
        return [key, { ...r, sequence: this.#sequence }];
      }),
    );
  }

  /** A new stream has been told nothing. */
  restart(): void {
    this.#told = undefined;
  }

  /** What the stream must be told now, if anything; it counts as told from here on. */
  next(): ReportMessage | undefined {
    const latest = this.#latest;
    const told = this.#told;
    if (latest === undefined) return undefined;
    this.#told = latest;
    if (told === undefined) return { full: true, registrations: [...latest.values()], removed: [] };
    const registrations = [...latest].flatMap(([key, r]) => (told.get(key) === r ? [] : [r]));
    const removed = [...told.keys()].filter((key) => !latest.has(key));
    return registrations.length + removed.length === 0 ? undefined : { full: false, registrations, removed };
  }
}
