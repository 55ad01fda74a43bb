// A block of fields in more than one frame: collected until END_HEADERS, within bounds that hold before it. RFC 9113 §6.10.

/** A block in more frames than this is an attack: a legitimate one of 64 KiB has four. */
const MAX_CONTINUATIONS = 16;

/** **Bounds** memory: `limitBytes`, whether or not END_HEADERS ever comes (CVE-2024-27983 and its kin). */
export class FieldBlock {
  /** The stream whose CONTINUATION must come next; 0: none. */
  id = 0;
  /** Flags of the HEADERS it began with. */
  flags = 0;
  /** The tick when it began. */
  tick = 0;
  bytes = 0;
  #parts: Buffer[] = [];
  readonly #limitBytes: number;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get frames(): number {
    return this.#parts.length;
  }

  begin(id: number, flags: number, tick: number, part: Buffer): void {
    this.id = id;
    this.flags = flags;
    this.tick = tick;
    this.#parts = [Buffer.from(part)];
    this.bytes = part.length;
  }

  /** False: it is longer than any block may be, and nothing more is kept. */
  add(part: Buffer): boolean {
    this.bytes += part.length;
    if (this.bytes > this.#limitBytes || this.#parts.length > MAX_CONTINUATIONS) return false;
    this.#parts.push(Buffer.from(part));
    return true;
  }

  /** The whole block; the next one may begin. */
  take(): Buffer {
    const block = Buffer.concat(this.#parts, this.bytes);
    this.drop();
    return block;
  }

  drop(): void {
    this.#parts = [];
    this.id = 0;
  }
}
