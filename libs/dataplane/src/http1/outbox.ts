// Gathers the small pieces of a message, so that a head and its body leave in one write.
import { kept } from '../transport/lent.ts';
import type { ByteStream } from '../transport/transport.ts';
import { writeLatin1 } from './octets.ts';

const SLAB_BYTES = 65_536;
/** A body chunk larger than this goes out as it is. */
const COPY_BYTES = 16_384;

// One for the thread, of one connection at a time: what another gathers sends off what the one before did. What nobody
// sends off leaves when the present turn has ended, so nothing ever waits for more to come.
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let start = 0;
let end = 0;
let owner: ByteStream | undefined;
let scheduled = false;

/** Adds Latin-1 text to what `stream` sends. */
export function gatherText(stream: ByteStream, text: string): void {
  if (owner !== stream) take(stream);
  if (text.length > SLAB_BYTES - end) {
    sendGathered();
    if (text.length > SLAB_BYTES - end) {
      if (text.length > COPY_BYTES) return void stream.write(text, 'latin1');
      renew();
    }
    owner = stream;
  }
  end += writeLatin1(slab, text, end);
}

/** Adds a chunk. */
export function gatherBytes(stream: ByteStream, chunk: Buffer): void {
  if (owner !== stream) take(stream);
  if (chunk.length > COPY_BYTES || chunk.length > SLAB_BYTES - end) {
    if (chunk.length > COPY_BYTES) return sendWith(stream, chunk);
    sendGathered();
    renew();
    owner = stream;
  }
  end += chunk.copy(slab, end);
}

/** What was gathered and a large chunk behind it, in one call to the system. */
function sendWith(stream: ByteStream, chunk: Buffer): void {
  stream.cork();
  sendGathered();
  stream.write(kept(chunk));
  stream.uncork();
}

/** Sends off what `stream` gathered. */
export function flushGathered(stream: ByteStream): void {
  if (owner === stream) sendGathered();
}

/** Forgets what `stream` gathered. */
export function dropGathered(stream: ByteStream): void {
  if (owner !== stream) return;
  owner = undefined;
  start = end;
}

function take(stream: ByteStream): void {
  if (owner !== undefined) sendGathered();
  owner = stream;
  if (!scheduled) {
    scheduled = true;
    process.nextTick(atTurnEnd);
  }
}

function atTurnEnd(): void {
  scheduled = false;
  if (owner !== undefined) sendGathered();
}

function sendGathered(): void {
  const stream = owner;
  owner = undefined;
  if (end === start || stream === undefined) return;
  const bytes = slab.subarray(start, end);
  start = end;
  if (SLAB_BYTES - end < 1024) renew();
  if (!stream.destroyed) stream.write(bytes);
}

function renew(): void {
  slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  start = 0;
  end = 0;
}
