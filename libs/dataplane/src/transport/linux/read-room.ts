// Room that reads go to where a chunk is its taker's to keep: handed out piece by piece.
import { LENT_BYTES } from '../lent.ts';

const SLAB_BYTES = 262_144;

// One for the thread.
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let used = 0;

/** Room for one read of up to `LENT_BYTES`; the same again until some of it is taken. */
export function readRoom(): Buffer {
  if (slab.length - used < LENT_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    used = 0;
  }
  return slab.subarray(used, used + LENT_BYTES);
}

/** The first bytes of the room given last are somebody's now. */
export function takeReadRoom(sizeBytes: number): void {
  used += sizeBytes;
}
