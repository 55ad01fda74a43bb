// One fault must not fill the log: the same line is written a few times in a window, the rest is counted.

/** How often one line may be written in a window of ten seconds. */
const LINES_PER_WINDOW = 10;
const WINDOW_MS = 10_000;
/** Distinct lines remembered; the one longest unseen is forgotten first. */
const MAX_REMEMBERED = 1_000;

type Seen = { count: number; sinceMs: number };

/** Whether a line may be written; `heldBack` says how many of its kind were not since the last one. */
export type Admission = { readonly ok: false } | { readonly ok: true; readonly heldBack: number };

/** Counts lines by key. One per log; times are monotonic milliseconds. */
export class RepeatLimit {
  readonly #seen = new Map<string, Seen>();

  admit(key: string, nowMonotonicMs: number): Admission {
    const seen = this.#seen.get(key);
    if (seen === undefined || nowMonotonicMs - seen.sinceMs >= WINDOW_MS) {
      this.#seen.delete(key);
      this.#seen.set(key, { count: 1, sinceMs: nowMonotonicMs });
      if (this.#seen.size > MAX_REMEMBERED) this.#forgetOldest();
      return { ok: true, heldBack: heldBackOf(seen) };
    }
    seen.count += 1;
    return seen.count <= LINES_PER_WINDOW ? { ok: true, heldBack: 0 } : { ok: false };
  }

  /** Every line of which some were held back and not yet told of, with how many; they are then told of. */
  takeHeldBack(): readonly { readonly key: string; readonly heldBack: number }[] {
    const held = [...this.#seen].map(([key, seen]) => ({ key, heldBack: heldBackOf(seen) })).filter((h) => h.heldBack > 0);
    this.#seen.clear();
    return held;
  }

  #forgetOldest(): void {
    for (const key of this.#seen.keys()) {
      this.#seen.delete(key);
      return;
    }
  }
}

function heldBackOf(seen: Seen | undefined): number {
  return seen === undefined ? 0 : Math.max(0, seen.count - LINES_PER_WINDOW);
}
