// The lines of a log file, one after the other, with a bound on each: a log of any size is read in little memory.
import type { FileHandle } from 'node:fs/promises';
import { MAX_LINE_BYTES } from './record.ts';

/** A line without its line feed. `isTorn`: the file ends in it without a line feed. `isTooLong`: only its beginning is given, and reading ends. */
export type Line = { readonly bytes: Buffer; readonly startBytes: number; readonly isTorn: boolean; readonly isTooLong: boolean };

const PIECE_BYTES = 256 * 1024;

/** Reads from the beginning to the end as it was when reading got there. */
export async function* linesOf(file: FileHandle): AsyncGenerator<Line> {
  let rest: Buffer = Buffer.alloc(0);
  let startBytes = 0;
  for (;;) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, startBytes + rest.length);
    if (bytesRead === 0) break;
    let text = rest.length === 0 ? piece.subarray(0, bytesRead) : Buffer.concat([rest, piece.subarray(0, bytesRead)]);
    for (let end = text.indexOf(10); end !== -1; end = text.indexOf(10)) {
      yield { bytes: text.subarray(0, end), startBytes, isTorn: false, isTooLong: end >= MAX_LINE_BYTES };
      startBytes += end + 1;
      text = text.subarray(end + 1);
    }
    rest = text;
    if (rest.length > MAX_LINE_BYTES) {
      yield { bytes: rest, startBytes, isTorn: false, isTooLong: true };
      return;
    }
  }
  if (rest.length > 0) yield { bytes: rest, startBytes, isTorn: true, isTooLong: false };
}
