import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipBytes, ipRanges, ipText, isCidr } from './ip-address.ts';

for (const [text, hex] of [
  ['192.0.2.7', 'c0000207'],
  ['::', '00000000000000000000000000000000'],
  ['::1', '00000000000000000000000000000001'],
  ['2001:db8::7', '20010db8000000000000000000000007'],
  ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ['1::', '00010000000000000000000000000000'],
  ['::ffff:192.0.2.7', '00000000000000000000ffffc0000207'],
  ['64:ff9b::192.0.2.7', '0064ff9b0000000000000000c0000207'],
] as const) {
  test(`${text} has the bytes ${hex}, and its text leads back to them`, () => {
    const bytes = ipBytes(text);
    assert.equal(bytes?.toString('hex'), hex);
    assert.ok(bytes !== undefined);
    const again = ipBytes(ipText(bytes));
    assert.equal(again?.toString('hex'), text.startsWith('::ffff:') ? hex.slice(24) : hex);
  });
}

test('what is no address has no bytes', () => {
  for (const text of ['', 'localhost', '1.2.3', '1.2.3.4.5', '256.1.1.1', '1:2', '::1::', 'g::1']) assert.equal(ipBytes(text), undefined, text);
});

test('an address is in a range, mapped or not', () => {
  const ranges = ipRanges(['10.0.0.0/8', '2001:db8::/32', '192.0.2.7/32']);
  for (const inside of ['10.1.2.3', '::ffff:10.1.2.3', '2001:db8:1::9', '192.0.2.7']) assert.equal(ranges.has(inside), true, inside);
  for (const outside of ['11.1.2.3', '2001:db9::1', '192.0.2.8', '::1', 'no address']) assert.equal(ranges.has(outside), false, outside);
  assert.equal(ranges.has(undefined), false, 'a socket that is gone has no address');
  assert.equal(ipRanges(['::/0']).has('10.1.2.3'), false);
  assert.equal(ipRanges(['0.0.0.0/0']).has('2001:db8::1'), false);
  assert.equal(ipRanges([]).isEmpty, true);
  assert.equal(ipRanges([]).has('10.1.2.3'), false);
});

test('CIDR ranges are address/bits and nothing else', () => {
  for (const good of ['0.0.0.0/0', '10.0.0.0/8', '::/0', '2001:db8::/32', '::1/128']) assert.equal(isCidr(good), true, good);
  for (const bad of ['10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/08', '10.0.0.0/8/8', 'x/8', '/8', '10.0.0.0/', '10.0.0.0/-1', 'fe80::1%eth0/64']) assert.equal(isCidr(bad), false, bad);
  assert.throws(() => ipRanges(['10.0.0.0']), TypeError);
});
