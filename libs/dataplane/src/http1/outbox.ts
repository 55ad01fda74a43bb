// Gathers the small pieces of a message, so that a head and its body leave in one write.
import type { ByteStream } from '../transport/transport.ts';
import { writeLatin1 } from './octets.ts';

const ROOM_BYTES = 131_072;
/** A body chunk larger than this goes out as it is where nothing stands before it. */
const COPY_BYTES = 16_384;

// One room for the thread, used by one connection at a time and again for each message: what another gathers sends off
// what the one before did. What nobody sends off leaves when the present turn has ended, so nothing waits for more to come.
const room = Buffer.allocUnsafeSlow(ROOM_BYTES);
let end = 0;
let owner: ByteStream | undefined;
let scheduled = false;

const turn = { flush: sendGathered };

/** Adds Latin-1 text to what `stream` sends. */
export function gatherText(stream: ByteStream, text: string): void {
  if (owner !== stream) take(stream);
  if (text.length > ROOM_BYTES - end) {
    sendGathered();
    if (text.length > ROOM_BYTES) return void stream.write(text, 'latin1');
    take(stream);
  }
  end += writeLatin1(room, text, end);
}

/** Adds a chunk; lent bytes are read before this returns. */
export function gatherBytes(stream: ByteStream, chunk: Buffer): void {
  if (owner !== stream) take(stream);
  if (chunk.length > ROOM_BYTES - end || (end === 0 && chunk.length > COPY_BYTES)) {
    sendGathered();
    return send(stream, chunk, chunk.length);
  }
  end += chunk.copy(room, end);
}

/** Adds one chunk of a chunked body. Source: RFC 9112 §7.1. */
export function gatherChunk(stream: ByteStream, chunk: Buffer): void {
  gatherText(stream, chunk.length.toString(16) + '\r\n');
  gatherBytes(stream, chunk);
  gatherText(stream, '\r\n');
}

/** Sends off what `stream` gathered. */
export function flushGathered(stream: ByteStream): void {
  if (owner === stream) sendGathered();
}

/** Sends text, behind what `stream` gathered and together with it. */
export function sendText(stream: ByteStream, text: string): void {
  gatherText(stream, text);
  flushGathered(stream);
}

/** Forgets what `stream` gathered. */
export function dropGathered(stream: ByteStream): void {
  if (owner !== stream) return;
  owner = undefined;
  end = 0;
}

function take(stream: ByteStream): void {
  if (owner !== undefined) sendGathered();
  owner = stream;
  if (stream.atTurnEnd !== undefined) stream.atTurnEnd(turn);
  else if (!scheduled) {
    scheduled = true;
    process.nextTick(atTickEnd);
  }
}

function atTickEnd(): void {
  scheduled = false;
  sendGathered();
}

function sendGathered(): void {
  const stream = owner;
  const size = end;
  owner = undefined;
  end = 0;
  if (stream !== undefined && size > 0) send(stream, room, size);
}

/** Sends the first `size` bytes, which are the sender's again afterwards. */
function send(stream: ByteStream, bytes: Buffer, size: number): void {
  if (stream.destroyed) return;
  if (stream.writeNow === undefined) stream.write(Buffer.from(bytes.subarray(0, size)));
  else stream.writeNow(bytes, size);
}
