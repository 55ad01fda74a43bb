// Keeps a peer's sudden silence about most of its services from emptying this cluster at once.
import type { Clock } from '@isthmus/runtime';

/** Removals within this time are judged as one step: a lost lease shows as many deletes, not as one. */
const STEP_MS = 50;
/** With so few records, losing most of them is ordinary. */
const SMALL = 10;

/**
 * Collects removals and lets them through step by step; a step that takes more than half of more than ten records is
 * held back for the grace period (reliability row 17). A key that comes back is no longer removed.
 */
export class RemovalGuard {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #heldCount: () => number;
  readonly #commit: (keys: readonly string[]) => void;
  readonly #onMass: (count: number) => void;
  readonly #step = new Set<string>();
  readonly #held = new Map<string, { cancel(): void }>();
  #timer: { cancel(): void } | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly graceMs: number;
    /** How many records there are, with those about to go. */
    readonly heldCount: () => number;
    readonly commit: (keys: readonly string[]) => void;
    readonly onMass: (count: number) => void;
  }) {
    this.#clock = options.clock;
    this.#graceMs = options.graceMs;
    this.#heldCount = options.heldCount;
    this.#commit = options.commit;
    this.#onMass = options.onMass;
  }

  remove(key: string): void {
    if (this.#held.has(key)) return;
    this.#step.add(key);
    this.#timer ??= this.#clock.setTimer(STEP_MS, () => this.#judge());
  }

  /** The key is there (again). */
  keep(key: string): void {
    this.#step.delete(key);
    this.#held.get(key)?.cancel();
    this.#held.delete(key);
  }

  close(): void {
    this.#timer?.cancel();
    for (const timer of this.#held.values()) timer.cancel();
    this.#held.clear();
    this.#step.clear();
  }

  #judge(): void {
    this.#timer = undefined;
    const gone = [...this.#step];
    this.#step.clear();
    if (gone.length === 0) return;
    const total = this.#heldCount();
    if (total <= SMALL || gone.length * 2 <= total) return this.#commit(gone);
    this.#onMass(gone.length);
    for (const key of gone) {
      this.#held.set(
        key,
        this.#clock.setTimer(this.#graceMs, () => {
          this.#held.delete(key);
          this.#commit([key]);
        }),
      );
    }
  }
}
