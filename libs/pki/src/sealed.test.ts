import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSealed, seal, SEALED_MARK, unseal } from './sealed.ts';

const QUICK = { logN: 10, r: 8, p: 1 };
const passphrase = Buffer.from('correct horse battery');
const plain = Buffer.from('a key that nobody else may read');

test('what was sealed opens with its passphrase alone, and holds nothing of the plain text', async () => {
  const sealed = await seal(plain, passphrase, QUICK);
  assert.equal(isSealed(sealed), true);
  assert.equal(isSealed(plain), false);
  assert.equal(sealed.includes(plain), false);
  assert.deepEqual(await unseal(sealed, passphrase), plain);
  assert.notDeepEqual(await seal(plain, passphrase, QUICK), sealed, 'salt and nonce are new each time');
  await assert.rejects(unseal(sealed, Buffer.from('another passphrase')), { code: 'PKI_SEALED_INVALID' });
});

test('the usual cost is 2^17 with r 8, and a short passphrase is refused', async () => {
  const sealed = await seal(plain, passphrase);
  assert.match(sealed.toString('latin1'), /"logN":17,"r":8,"p":1/);
  assert.deepEqual(await unseal(sealed, passphrase), plain);
  await assert.rejects(seal(plain, Buffer.from('short')), { code: 'PKI_PASSPHRASE_REFUSED' });
});

test('one changed bit anywhere, one byte less, and a header that asks for too much are refused', async () => {
  const sealed = await seal(plain, passphrase, QUICK);
  for (let at = 0; at < sealed.length; at += 7) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await assert.rejects(unseal(changed, passphrase), { code: 'PKI_SEALED_INVALID' }, `at ${at}`);
  }
  for (const size of [0, 10, SEALED_MARK.length, 60, sealed.length - 1]) await assert.rejects(unseal(sealed.subarray(0, size), passphrase), { code: 'PKI_SEALED_INVALID' }, `${size} bytes`);
  const greedy = Buffer.from(sealed.toString('latin1').replace('"logN":10', '"logN":40'), 'latin1');
  await assert.rejects(unseal(greedy, passphrase), { code: 'PKI_SEALED_INVALID' });
});
