// Makes new inputs out of old ones: a seeded generator and the mutations it picks from.

/** Small fast random numbers, the same for the same seed (xorshift32). */
export class Chance {
  #state: number;
  constructor(seed: number) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ (seed >>> 13)) | 0 || 0x1234567;
  }
  /** An unsigned 32-bit integer. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }
  /** An integer from 0 to below `limit`; 0 for a limit of 0. */
  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor((this.next() / 0x1_0000_0000) * limit);
  }
}

/** Numbers at the edges that lengths and counters have. */
const INTERESTING = [0, 1, 2, 3, 4, 7, 8, 9, 10, 13, 16, 31, 32, 63, 64, 100, 127, 128, 129, 253, 254, 255, 256, 257, 511, 512, 1_023, 1_024, 4_095, 4_096, 16_383, 16_384, 16_385, 32_767, 32_768, 65_534, 65_535, 65_536, 0xff_ffff, 0x100_0000, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

const MUTATIONS = 13;

/** Builds inputs in one buffer of its own, without garbage. The same seed, pool and dictionary give the same inputs. */
export class Mutator {
  readonly #chance: Chance;
  readonly #pool: Buffer[] = [];
  readonly #dictionary: readonly Buffer[];
  readonly #bytes: Buffer;
  readonly #scratch: Buffer;
  readonly #maxBytes: number;
  #length = 0;

  constructor(options: { readonly seed: number; readonly seeds: readonly Buffer[]; readonly dictionary?: readonly (string | Buffer)[]; readonly maxBytes: number }) {
    this.#chance = new Chance(options.seed);
    this.#maxBytes = options.maxBytes;
    this.#dictionary = (options.dictionary ?? []).map((word) => (typeof word === 'string' ? Buffer.from(word, 'latin1') : word));
    this.#bytes = Buffer.alloc(options.maxBytes);
    this.#scratch = Buffer.alloc(options.maxBytes);
    for (const seed of options.seeds) this.keep(seed);
  }

  /** How many inputs new ones are made from. */
  get poolSize(): number {
    return this.#pool.length;
  }

  /** Adds an input to those that new ones are made from. */
  keep(input: Buffer): void {
    this.#pool.push(Buffer.from(input.subarray(0, this.#maxBytes)));
  }

  /** The next input: a view that holds until the next call. */
  next(): Buffer {
    const chance = this.#chance;
    if (chance.below(256) === 0) this.#randomBytes();
    else {
      const base = this.#pick();
      base.copy(this.#bytes);
      this.#length = base.length;
      let count = 1;
      while (count < 12 && chance.below(2) === 0) count += 1;
      for (let i = 0; i < count; i++) this.#mutate(chance.below(MUTATIONS));
    }
    return this.#bytes.subarray(0, this.#length);
  }

  /** The later half, which coverage chose, as often as all together. */
  #pick(): Buffer {
    const { length } = this.#pool;
    const half = length >> 1;
    const at = this.#chance.below(2) === 0 ? half + this.#chance.below(length - half) : this.#chance.below(length);
    return this.#pool[at] ?? Buffer.alloc(0);
  }

  #randomBytes(): void {
    this.#length = this.#chance.below(Math.min(this.#maxBytes, 256) + 1);
    for (let i = 0; i < this.#length; i++) this.#bytes[i] = this.#chance.next();
  }

  #mutate(kind: number): void {
    const chance = this.#chance;
    const at = chance.below(this.#length);
    switch (kind) {
      case 0:
        if (this.#length > 0) this.#bytes[at] = (this.#bytes[at] ?? 0) ^ (1 << chance.below(8));
        return;
      case 1:
        if (this.#length > 0) this.#bytes[at] = chance.next();
        return;
      case 2:
        return this.#writeInteger(at, INTERESTING[chance.below(INTERESTING.length)] ?? 0);
      case 3:
        return this.#addToInteger(at);
      case 4:
        return this.#remove(at, 1 + this.#someLength());
      case 5:
        return this.#insertCopy(at, 1 + this.#someLength());
      case 6:
        return this.#insertRandom(at, 1 + chance.below(8));
      case 7:
        return this.#word(at);
      case 8:
        return this.#splice(at);
      case 9:
        // Rarely: most of what follows a cut is the same refusal.
        if (chance.below(4) === 0) this.#length = at;
        return;
      case 10:
        this.#bytes.copyWithin(chance.below(this.#length), at, Math.min(this.#length, at + this.#someLength()));
        return;
      case 11:
        return this.#swap(at, chance.below(this.#length), 1 + chance.below(16));
      default:
        return this.#repeat(at);
    }
  }

  /** Mostly short. */
  #someLength(): number {
    return this.#chance.below(8) === 0 ? this.#chance.below(this.#length) : this.#chance.below(Math.min(this.#length, 32));
  }

  #writeInteger(at: number, value: number): void {
    const size = 1 << this.#chance.below(3);
    if (at + size > this.#length) return;
    const fitting = size === 4 ? value >>> 0 : value % 2 ** (8 * size);
    if (this.#chance.below(4) === 0) this.#bytes.writeUIntLE(fitting, at, size);
    else this.#bytes.writeUIntBE(fitting, at, size);
  }

  #addToInteger(at: number): void {
    const size = 1 << this.#chance.below(3);
    if (at + size > this.#length) return;
    const limit = 2 ** (8 * size);
    const value = this.#bytes.readUIntBE(at, size) + this.#chance.below(35) - 17;
    this.#bytes.writeUIntBE((value + limit) % limit, at, size);
  }

  #remove(at: number, count: number): void {
    const end = Math.min(this.#length, at + count);
    this.#bytes.copyWithin(at, end, this.#length);
    this.#length -= end - at;
  }

  /** Opens a gap; how wide it became within the longest input. */
  #open(at: number, count: number): number {
    const width = Math.min(count, this.#maxBytes - this.#length);
    this.#bytes.copyWithin(at + width, at, this.#length);
    this.#length += width;
    return width;
  }

  #insertCopy(at: number, count: number): void {
    const size = Math.min(count, this.#length - at);
    this.#bytes.copy(this.#scratch, 0, at, at + size);
    const to = this.#chance.below(this.#length + 1);
    const width = this.#open(to, size);
    this.#scratch.copy(this.#bytes, to, 0, width);
  }

  #insertRandom(at: number, count: number): void {
    const width = this.#open(at, count);
    for (let i = 0; i < width; i++) this.#bytes[at + i] = this.#chance.next();
  }

  #word(at: number): void {
    const word = this.#dictionary[this.#chance.below(this.#dictionary.length)];
    if (word === undefined) return this.#insertRandom(at, 1);
    if (this.#chance.below(2) === 0) {
      const width = this.#open(at, word.length);
      word.copy(this.#bytes, at, 0, width);
    } else word.copy(this.#bytes, at, 0, Math.max(0, this.#length - at));
  }

  /** From here on as another input has it. */
  #splice(at: number): void {
    const other = this.#pick();
    const from = this.#chance.below(other.length);
    this.#length = at + other.copy(this.#bytes, at, from, Math.min(other.length, from + this.#maxBytes - at));
  }

  #swap(a: number, b: number, count: number): void {
    const size = Math.min(count, Math.abs(a - b), this.#length - Math.max(a, b));
    for (let i = 0; i < size; i++) {
      const first = this.#bytes[a + i] ?? 0;
      this.#bytes[a + i] = this.#bytes[b + i] ?? 0;
      this.#bytes[b + i] = first;
    }
  }

  #repeat(at: number): void {
    if (this.#length === 0) return;
    const byte = this.#bytes[at] ?? 0;
    const width = this.#open(at, 1 << this.#chance.below(11));
    this.#bytes.fill(byte, at, at + width);
  }
}
