// Reads that need no memory of their own: one room for the whole thread, whose bytes are good only while they are being handed out.

/** The most that one read hands out. */
export const LENT_BYTES = 65_536;

const room = Buffer.allocUnsafeSlow(LENT_BYTES);
const memory = room.buffer;

/** Where a stream that lends reads into; nothing else may write here. */
export function lentRoom(): Buffer {
  return room;
}

/** Views of the room by their length, made once: small chunks come in few lengths, and each is over before the next begins. */
const views: (Buffer | undefined)[] = [];
const MAX_VIEWS = 2_048;

/** The first `count` bytes of the lent room. */
export function lentChunk(count: number): Buffer {
  if (count >= MAX_VIEWS) return room.subarray(0, count);
  return (views[count] ??= room.subarray(0, count));
}

/** These bytes are lent: gone after the call that handed them out. */
export function isLent(chunk: Uint8Array): boolean {
  return chunk.buffer === memory;
}

/**
 * The chunk for one who keeps it beyond the call it came by: itself, or a copy where it is lent. Large buffers are why this is
 * worth the trouble: V8 counts memory outside its heap, and a new slab for every 256 KiB read has it collect garbage all the time.
 */
export function kept(chunk: Buffer): Buffer {
  return chunk.buffer === memory ? Buffer.from(chunk) : chunk;
}
