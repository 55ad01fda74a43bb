// Which streams were reset here not long ago: their late frames are no breach of protocol. RFC 9113 §5.1.

/** Streams whose late frames are forgiven; the oldest is forgotten first. */
const REMEMBERED = 128;

/** **Bounds** memory: none before the first reset, 512 bytes after. */
export class ResetStreams {
  #ids: Int32Array | undefined;
  #count = 0;

  add(id: number): void {
    this.#ids ??= new Int32Array(REMEMBERED);
    this.#ids[this.#count++ % REMEMBERED] = id;
  }

  has(id: number): boolean {
    return this.#ids?.includes(id) === true;
  }

  /** The peer closed it, too: from here on its frames are no longer late but wrong. */
  delete(id: number): void {
    const at = this.#ids?.indexOf(id) ?? -1;
    if (at >= 0 && this.#ids !== undefined) this.#ids[at] = 0;
  }
}
