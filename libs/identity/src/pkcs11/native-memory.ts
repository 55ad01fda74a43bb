// Memory that C sees and we see: taken in pieces, wiped and freed as one.
import type koffi from 'koffi';

/** A piece of it. */
export type Piece = { readonly address: bigint; readonly bytes: Buffer };

/** Pieces that live as long as one task. */
export interface Memory {
  /** Zeroed, at an address a pointer or a number may stand at. **Throws** RangeError beyond 16 KiB in all. */
  take(sizeBytes: number): Piece;
  /** A copy. */
  copy(bytes: Uint8Array): Piece;
  /** Zeroes everything and gives it back. Idempotent. */
  free(): void;
}

const SIZE_BYTES = 16 * 1024;

export class NativeMemory {
  readonly #koffi: typeof koffi;

  constructor(ffi: typeof koffi) {
    this.#koffi = ffi;
  }

  open(): Memory {
    const block: unknown = this.#koffi.alloc('uint8_t', SIZE_BYTES);
    const start = this.#koffi.address(block);
    const all = Buffer.from(this.#koffi.view(block, SIZE_BYTES));
    all.fill(0);
    let used = 0;
    let isFreed = false;
    const take = (sizeBytes: number): Piece => {
      const at = used;
      used += Math.ceil(sizeBytes / 8) * 8;
      if (used > SIZE_BYTES) throw new RangeError(`more than ${SIZE_BYTES} bytes for one call`);
      return { address: start + BigInt(at), bytes: all.subarray(at, at + sizeBytes) };
    };
    return {
      take,
      copy: (bytes) => {
        const piece = take(bytes.length);
        piece.bytes.set(bytes);
        return piece;
      },
      free: () => {
        if (isFreed) return;
        isFreed = true;
        // PINs pass through here.
        all.fill(0);
        this.#koffi.free(block);
      },
    };
  }

  /** A copy of what C has at an address. */
  read(address: bigint, sizeBytes: number): Buffer {
    return Buffer.from(Buffer.from(this.#koffi.view(address, sizeBytes)));
  }
}
