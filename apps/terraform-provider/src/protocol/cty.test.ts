import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode, ExtData } from '@msgpack/msgpack';
import fc from 'fast-check';
import type { IsthmusError } from '@isthmus/model';
import { type AttributeType, BOOL, listOf, mapOf, NUMBER, objectOf, setOf, STRING, toSchema, typeToJson } from './attribute.ts';
import { decodeValue, encodeValue, valueFromJson } from './cty.ts';
import { hasUnknown, isSame, Unknown, UNKNOWN, UNKNOWN_NOT_NULL, type Value } from './value.ts';

const attribute = (type: AttributeType) => ({ type, mode: 'optional', description: '' }) as const;
const SERVICE = objectOf({
  name: attribute(STRING),
  weight: attribute(NUMBER),
  exported: attribute(BOOL),
  consumers: attribute(setOf(STRING)),
  labels: attribute(mapOf(STRING)),
  ports: attribute(listOf(objectOf({ name: attribute(STRING), port: attribute(NUMBER) }))),
});

const nullable = (value: fc.Arbitrary<unknown>) => fc.oneof({ weight: 4, arbitrary: value }, fc.constant(null), fc.constant(UNKNOWN), fc.constant(UNKNOWN_NOT_NULL));
const services = fc.record({
  name: nullable(fc.string()),
  weight: nullable(fc.oneof(fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0))),
  exported: nullable(fc.boolean()),
  consumers: nullable(fc.array(nullable(fc.string()))),
  labels: nullable(fc.dictionary(fc.string().filter((key) => key !== '__proto__'), nullable(fc.string()), { noNullPrototype: true })),
  ports: nullable(fc.array(fc.record({ name: nullable(fc.string()), port: nullable(fc.integer()) }, { noNullPrototype: true }))),
}, { noNullPrototype: true });

test('what is encoded decodes to the same, with nulls, unknowns and their refinements in place', () => {
  fc.assert(
    fc.property(services, (value) => {
      assert.deepEqual(decodeValue(SERVICE, encodeValue(SERVICE, value as Value)), value);
    }),
    { numRuns: 300 },
  );
});

test('an unknown is written as Terraform writes it: extension 0 of one byte; a refined one goes back to the byte', () => {
  assert.deepEqual([...encodeValue(STRING, UNKNOWN)], [0xd4, 0x00, 0x00]);
  const refined = encode(new ExtData(12, Uint8Array.of(0x82, 0x01, 0xc2, 0x02, 0xa2, 0x76, 0x6d)));
  const decoded = decodeValue(STRING, refined);
  assert.ok(decoded instanceof Unknown && hasUnknown([decoded]));
  assert.deepEqual(encodeValue(STRING, decoded), refined);
});

test('attributes that are not there are null, so that Terraform gets every one of the schema', () => {
  assert.deepEqual(decodeValue(SERVICE, encode({ name: 'a' })), { name: 'a', weight: null, exported: null, consumers: null, labels: null, ports: null });
});

for (const [name, type, raw, where] of [
  ['a number for a text', SERVICE, { name: 1 }, /^name is to be a string, not a number/],
  ['a text for a number, deep inside', SERVICE, { ports: [{ name: 'a', port: 'x' }] }, /^ports\[0\]\.port is to be a number/],
  ['an attribute of no schema', SERVICE, { nam: 'a' }, /^nam is in no schema/],
  ['a list for an object', SERVICE, [], /^the value is to be a object, not a list/],
  ['bytes for an object', SERVICE, Uint8Array.of(1), /is to be a object/],
  ['a number that would lose digits', NUMBER, 2n ** 63n + 1n, /too large to be kept exactly/],
  ['a number that is none', NUMBER, Number.NaN, /is to be a number/],
] as const) {
  test(`refuses ${name}, by its place`, () => {
    assert.throws(() => decodeValue(type, encode(raw, { useBigInt64: true })), (error: IsthmusError) => error.code === 'TERRAFORM_VALUE_INVALID' && where.test(error.message.replace(/^: /, '')));
  });
}

test('numbers that Terraform writes as text are numbers', () => {
  assert.equal(decodeValue(NUMBER, encode('15443')), 15_443);
  assert.throws(() => decodeValue(NUMBER, encode('0x10')));
});

test('bytes that are no msgpack, or more than one value, are refused', () => {
  for (const bytes of [Uint8Array.of(), Uint8Array.of(0xc1), Uint8Array.of(0x92, 0x01), Uint8Array.of(0x01, 0x02)]) assert.throws(() => decodeValue(NUMBER, bytes), { code: 'TERRAFORM_VALUE_INVALID' });
});

test('stored state of another version loses what is unknown here and gets null for what is new', () => {
  assert.deepEqual(valueFromJson(objectOf({ name: attribute(STRING), added: attribute(BOOL) }), '{"name":"a","gone":{"x":1}}'), { name: 'a', added: null });
  assert.throws(() => valueFromJson(STRING, '{'), { code: 'TERRAFORM_VALUE_INVALID' });
});

test('an unknown is the same as nothing, also inside', () => {
  assert.equal(isSame({ a: [UNKNOWN] }, { a: [UNKNOWN] }), false);
  assert.equal(isSame({ a: [1, null] }, { a: [1, null] }), true);
  assert.equal(isSame({ a: 1 }, { a: 1, b: 2 }), false);
});

test('the schema has types in JSON, and objects as nested attributes', () => {
  const { block } = toSchema({ consumers: { ...attribute(setOf(STRING)), mode: 'required' }, ports: attribute(listOf(objectOf({ port: attribute(NUMBER) }))) }, 'a thing');
  const [consumers, ports] = block?.attributes ?? [];
  assert.deepEqual([consumers?.type.toString(), consumers?.required, ports?.type.length, ports?.nestedType?.nesting, ports?.nestedType?.attributes[0]?.type.toString()], ['["set","string"]', true, 0, 2, '"number"']);
  assert.deepEqual(typeToJson(objectOf({ a: attribute(mapOf(BOOL)) })), ['object', { a: ['map', 'bool'] }]);
});
