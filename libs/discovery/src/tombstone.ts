// Memory of removed workloads, so that a late word about one does not bring it back.

/** When a workload was removed: in which stream of its agent, and what its sequence was then. */
export type Tombstone = { readonly epoch: number; readonly sequence: number };

/** **Bounds** the newest `limit` removals are remembered; epochs guard whatever is older. */
export class Tombstones {
  readonly #limit: number;
  readonly #stones = new Map<string, Tombstone>();

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  lay(key: string, stone: Tombstone): void {
    this.#stones.delete(key);
    this.#stones.set(key, stone);
    if (this.#stones.size <= this.#limit) return;
    const [oldest] = this.#stones.keys();
    if (oldest !== undefined) this.#stones.delete(oldest);
  }

  /** True when a word with that epoch and sequence is no newer than the removal. */
  forbids(key: string, epoch: number, sequence: number): boolean {
    const stone = this.#stones.get(key);
    if (stone === undefined) return false;
    return epoch < stone.epoch || (epoch === stone.epoch && sequence <= stone.sequence);
  }

  lift(key: string): void {
    this.#stones.delete(key);
  }
}
