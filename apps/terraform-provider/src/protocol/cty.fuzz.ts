// Fuzz target: any bytes are a value of the schema's type, which then goes back and forth unchanged, or refused with a code.
import { encode } from '@msgpack/msgpack';
import { IsthmusError } from '@isthmus/model';
import { type AttributeType, BOOL, listOf, mapOf, NUMBER, objectOf, setOf, STRING } from './attribute.ts';
import { decodeValue, encodeValue } from './cty.ts';
import { UNKNOWN_NOT_NULL } from './value.ts';

const attribute = (type: AttributeType) => ({ type, mode: 'optional', description: '' }) as const;
const TYPE = objectOf({ s: attribute(STRING), n: attribute(NUMBER), b: attribute(BOOL), t: attribute(setOf(STRING)), m: attribute(mapOf(NUMBER)), l: attribute(listOf(objectOf({ s: attribute(STRING) }))) });

const seeds = [
  { s: 'a', n: 1, b: true, t: ['x'], m: { k: 1.5 }, l: [{ s: null }] },
  { s: null, n: 2 ** 40, l: [] },
];

export const target = {
  name: 'terraform-values',
  seeds: [...seeds.map((value) => Buffer.from(encode(value))), Buffer.from(encodeValue(TYPE, { s: UNKNOWN_NOT_NULL }))],
  dictionary: [Buffer.from([0xd4, 0, 0]), Buffer.from([0xc7, 3, 12, 0x81, 1, 0xc2]), Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]), Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]), Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff]), Buffer.from([0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Buffer.from([0xa9, ...Buffer.from('__proto__')])],
  maxBytes: 1_024,
  run(input: Buffer): void {
    let value;
    try {
      value = decodeValue(TYPE, input);
    } catch (error) {
      if (error instanceof IsthmusError && error.code === 'TERRAFORM_VALUE_INVALID') return;
      throw error;
    }
    const once = encodeValue(TYPE, value);
    const again = encodeValue(TYPE, decodeValue(TYPE, once));
    if (!Buffer.from(once).equals(Buffer.from(again))) throw new Error(`${Buffer.from(once).toString('hex')} encodes again as ${Buffer.from(again).toString('hex')}`);
    if (({} as { s?: unknown }).s !== undefined) throw new Error('a prototype was changed');
  },
};
