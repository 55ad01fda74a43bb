// What a connection has yet to send: chunks in order, small ones offered to the system together.

/** A chunk smaller than this is gathered with its neighbours into one send. */
const GATHER_BYTES = 16_384;

// One for the thread: what is offered is sent, or offered again, before anything else is gathered.
const gathered = Buffer.allocUnsafeSlow(GATHER_BYTES * 4);

/** Chunks are its own until they are sent: whoever pushes one no longer changes it. */
export class WriteQueue {
  /** Of all that waits. */
  bytes = 0;
  /** Of what `next` gave last. */
  nextBytes = 0;
  readonly #chunks: Buffer[] = [];
  #headSent = 0; // of the first chunk

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** What to send next, its first `nextBytes`; good until the next call. Undefined when nothing waits. */
  next(): Buffer | undefined {
    const first = this.#chunks[0];
    if (first === undefined) return undefined;
    if (this.#chunks.length > 1 && first.length < GATHER_BYTES) {
      this.nextBytes = this.#gather();
      return gathered;
    }
    const rest = this.#headSent === 0 ? first : first.subarray(this.#headSent);
    this.nextBytes = rest.length;
    return rest;
  }

  #gather(): number {
    let at = 0;
    for (let i = 0; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i] as Buffer;
      const from = i === 0 ? this.#headSent : 0;
      const size = Math.min(chunk.length - from, gathered.length - at);
      at += chunk.copy(gathered, at, from, from + size);
      if (at === gathered.length) break;
    }
    return at;
  }

  /** The system took so many of the first bytes. */
  taken(count: number): void {
    this.bytes -= count;
    let left = count + this.#headSent;
    let done = 0;
    for (; done < this.#chunks.length; done++) {
      const size = (this.#chunks[done] as Buffer).length;
      if (size > left) break;
      left -= size;
    }
    // Taken out one by one, an array keeps its room for what comes next.
    if (done === this.#chunks.length) while (this.#chunks.length > 0) this.#chunks.pop();
    else if (done > 0) this.#chunks.splice(0, done);
    this.#headSent = this.#chunks.length === 0 ? 0 : left;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.bytes = 0;
    this.#headSent = 0;
  }
}
