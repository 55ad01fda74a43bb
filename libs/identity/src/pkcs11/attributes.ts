// CK_ATTRIBUTE (PKCS#11 §3.4): a type, where the value is, and how long it is; written for templates, read from objects.
import type { Memory, Piece } from './native-memory.ts';
import { Pkcs11Error } from './module.ts';

export type Attribute = { readonly type: number; readonly value: Buffer };

const ATTRIBUTE_BYTES = 24;
const MAX_VALUE_BYTES = 1_024;
/** What stands for a length where the attribute is not there, or is not told. */
const UNAVAILABLE = 0xffff_ffff_ffff_ffffn;
/** Answers that still fill in the other attributes (§5.7). */
const PARTIAL: readonly number[] = [0x11, 0x12];

export const attribute = {
  number: (type: number, value: number): Attribute => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return { type, value: bytes };
  },
  flag: (type: number, value: boolean): Attribute => ({ type, value: Buffer.from([value ? 1 : 0]) }),
  bytes: (type: number, value: Buffer): Attribute => ({ type, value }),
};

export function templateOf(memory: Memory, attributes: readonly Attribute[]): Piece {
  const template = memory.take(ATTRIBUTE_BYTES * attributes.length);
  for (const [i, { type, value }] of attributes.entries()) write(template, i, type, memory.copy(value));
  return template;
}

/** **Throws** Pkcs11Error where the object itself is gone. */
export async function readAttributes(memory: Memory, types: readonly number[], read: (address: bigint, count: number) => Promise<void>): Promise<ReadonlyMap<number, Buffer>> {
  const template = memory.take(ATTRIBUTE_BYTES * types.length);
  const values = types.map(() => memory.take(MAX_VALUE_BYTES));
  for (const [i, type] of types.entries()) write(template, i, type, values[i] ?? memory.take(0));
  await read(template.address, types.length).catch((error: unknown) => {
    if (!(error instanceof Pkcs11Error && PARTIAL.includes(error.returned))) throw error;
  });
  const found = new Map<number, Buffer>();
  for (const [i, type] of types.entries()) {
    const length = template.bytes.readBigUInt64LE(ATTRIBUTE_BYTES * i + 16);
    if (length !== UNAVAILABLE && length <= BigInt(MAX_VALUE_BYTES)) found.set(type, Buffer.from((values[i]?.bytes ?? Buffer.alloc(0)).subarray(0, Number(length))));
  }
  return found;
}

function write(template: Piece, index: number, type: number, value: Piece): void {
  const at = ATTRIBUTE_BYTES * index;
  template.bytes.writeBigUInt64LE(BigInt(type), at);
  template.bytes.writeBigUInt64LE(value.address, at + 8);
  template.bytes.writeBigUInt64LE(BigInt(value.bytes.length), at + 16);
}
