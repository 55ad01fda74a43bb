// The serial number of an SVID: who asked for it and when, in bytes that nobody else reads, so that a ban needs no list of what was issued.
import { createHash, randomBytes } from 'node:crypto';

/** `I`: told from the random serial numbers of other issuers by this and the length of 20 bytes (RFC 5280 §4.1.2.2 allows no more). */
const MARK = 0x49;
const TAG_BYTES = 5;
const TIME_BYTES = 6;
const SERIAL_BYTES = 20;

/** What a serial number says: the tag of the holder, and the moment of issuing in Unix milliseconds. */
export type SerialFacts = { readonly holder: string; readonly issuedAtMs: number };

/** The tag by which all SVIDs issued to one ID are known: ten hex digits of its hash. */
export function holderTag(spiffeId: string): string {
  return createHash('sha256').update('isthmus holder v1\n').update(spiffeId).digest('hex').slice(0, 2 * TAG_BYTES);
}

/** Mark, tag, time and 64 random bits: positive, never zero, never twice. */
export function svidSerial(holder: string, nowMs: number): Buffer {
  const serial = Buffer.alloc(SERIAL_BYTES);
  serial[0] = MARK;
  serial.write(holderTag(holder), 1, 'hex');
  serial.writeUIntBE(Math.max(0, Math.floor(nowMs)), 1 + TAG_BYTES, TIME_BYTES);
  randomBytes(SERIAL_BYTES - 1 - TAG_BYTES - TIME_BYTES).copy(serial, 1 + TAG_BYTES + TIME_BYTES);
  return serial;
}

/** Reads a serial number in hex; undefined for one that another issuer made. */
export function readSvidSerial(hex: string): SerialFacts | undefined {
  if (hex.length !== 2 * SERIAL_BYTES || !/^[0-9a-f]+$/i.test(hex)) return undefined;
  const serial = Buffer.from(hex, 'hex');
  if (serial[0] !== MARK) return undefined;
  return { holder: serial.toString('hex', 1, 1 + TAG_BYTES), issuedAtMs: serial.readUIntBE(1 + TAG_BYTES, TIME_BYTES) };
}
