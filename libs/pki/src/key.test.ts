import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { exportKeyPem, generateKey, importKeyPem, type KeyKind, weaknessOf } from './key.ts';

for (const kind of ['ec-p256', 'ed25519', 'rsa-2048', 'rsa-3072'] satisfies KeyKind[]) {
  test(`a key of kind ${kind} is strong enough and survives PEM`, () => {
    const key = generateKey(kind);
    assert.equal(weaknessOf(createPublicKey(key)), undefined);
    assert.ok(importKeyPem(exportKeyPem(key)).equals(key));
  });
}

test('EC P-384 of others is good enough to be certified', () => assert.equal(weaknessOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey), undefined));

test('keys that cannot sign, and RSA-PSS, are not certified', () => {
  assert.match(weaknessOf(generateKeyPairSync('x25519').publicKey) ?? '', /x25519 are not used/);
  assert.match(weaknessOf(generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey) ?? '', /rsa-pss are not used/);
});

test('a text that is no private key is refused without being repeated', () => {
  const publicPem = createPublicKey(generateKey()).export({ type: 'spki', format: 'pem' });
  for (const text of ['no key at all', publicPem.toString(), '']) {
    assert.throws(
      () => importKeyPem(text),
      (error: Error & { code?: string }) => error.code === 'PKI_KEY_INVALID' && (text === '' || !error.message.includes(text)),
    );
  }
});
