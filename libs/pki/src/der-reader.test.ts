import assert from 'node:assert/strict';
import { test } from 'node:test';
import { booleanOf, bitsOf, DerFault, integerOf, itemsOf, oidTextOf, readDer, timeOf } from './der-reader.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const timed = (tag: number, text: string): Buffer => Buffer.concat([Buffer.from([tag, text.length]), Buffer.from(text)]);
const nested = (depth: number): Buffer => {
  let inner = Buffer.alloc(0);
  for (let i = 0; i < depth; i++) inner = Buffer.concat([inner.byteLength < 128 ? Buffer.from([0x30, inner.byteLength]) : Buffer.from([0x30, 0x81, inner.byteLength]), inner]);
  return inner;
};

test('values come apart as views of the bytes they came in', () => {
  const bytes = hex('3006020105040141');
  const [number, octets] = itemsOf(readDer(bytes));
  assert.deepEqual([number?.tag, number?.value, octets?.whole], [2, hex('05'), hex('040141')]);
  assert.equal(number?.value.buffer, bytes.buffer);
});

for (const [what, bytes] of [
  ['nothing', ''],
  ['a length without its contents', '3005'],
  ['bytes left over', '300000'],
  ['an indefinite length', '30800000'],
  ['a length in a longer form', '30810100'],
  ['a length in a still longer form', `30820080${'00'.repeat(128)}`],
  ['a length of five octets', '30850000000001'],
  ['a tag of several octets', '1f8101'],
  ['a child that is longer than its parent', '30020205'],
  ['a bad child far within', '3008300630043002300f'],
] as const) {
  test(`refused as DER: ${what}`, () => assert.throws(() => readDer(hex(bytes)), DerFault));
}

test('nesting and number of values are bounded', () => {
  assert.ok(readDer(nested(16)));
  assert.throws(() => readDer(nested(18)), DerFault);
  const many = Buffer.concat([hex('30824e20'), Buffer.alloc(20_000, hex('0500'))]);
  assert.throws(() => readDer(many), DerFault);
});

test('a value has one form: of a boolean, an integer, a bit string, an object identifier', () => {
  assert.equal(booleanOf(readDer(hex('0101ff'))), true);
  assert.deepEqual(integerOf(readDer(hex('020200ff'))), hex('00ff'));
  assert.deepEqual(bitsOf(readDer(hex('03020780'))), { bytes: hex('80'), unused: 7 });
  assert.equal(oidTextOf(readDer(hex('06032a8648'))), '1.2.840');
  assert.equal(oidTextOf(readDer(hex('0603550403'))), '2.5.4.3');
  for (const bad of ['010101', '0100', '01020000']) assert.throws(() => booleanOf(readDer(hex(bad))), DerFault, bad);
  for (const bad of ['0200', '02020001', '0202ffff', '0c0105']) assert.throws(() => integerOf(readDer(hex(bad))), DerFault, bad);
  for (const bad of ['0300', '030108', '030101', '03020781']) assert.throws(() => bitsOf(readDer(hex(bad))), DerFault, bad);
  for (const bad of ['0600', '06022a86', '06032a8001', '060a2affffffffffffffff7f']) assert.throws(() => oidTextOf(readDer(hex(bad))), DerFault, bad);
});

test('times are whole seconds of UTC in one of two forms, and real', () => {
  assert.equal(timeOf(readDer(timed(0x17, '491231235959Z'))), Date.UTC(2049, 11, 31, 23, 59, 59));
  assert.equal(timeOf(readDer(timed(0x17, '500101000000Z'))), Date.UTC(1950, 0, 1));
  assert.equal(timeOf(readDer(timed(0x18, '20500101000000Z'))), Date.UTC(2050, 0, 1));
  for (const bad of ['250101000000+0100', '2501010000Z', '250230000000Z', '250101240000Z', '250101000060Z', '99x101000000Z', '']) assert.throws(() => timeOf(readDer(timed(0x17, bad))), DerFault, bad);
  for (const bad of ['20250101000000.5Z', '250101000000Z', '20250101000000']) assert.throws(() => timeOf(readDer(timed(0x18, bad))), DerFault, bad);
});
