import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bundle, parseBundle } from '@isthmus/model';
import { bundleFromWire, bundleToWire } from './wire.ts';

const plain: Bundle = { trustDomain: 'east.acme.example', sequence: 7, refreshHintSeconds: 300, x509Authorities: ['MAA='] };
const withJwt: Bundle = { ...plain, jwtAuthorities: [{ keyId: 'k1', publicKey: 'MAA=' }, { keyId: 'k2', publicKey: 'MAEA' }] };

test('a bundle comes over the wire as it went, with JWT authorities and without', () => {
  for (const bundle of [plain, withJwt]) {
    const back = bundleFromWire(bundleToWire(bundle));
    assert.deepEqual(back.ok && back.value, bundle);
  }
});

test('a document of before there were JWT authorities is still read; one of too many, or without key ID, is not', () => {
  assert.ok(parseBundle(plain).ok);
  assert.equal(parseBundle({ ...plain, jwtAuthorities: Array.from({ length: 33 }, (_, i) => ({ keyId: `k${i}`, publicKey: 'MAA=' })) }).ok, false);
  assert.equal(parseBundle({ ...plain, jwtAuthorities: [{ keyId: '', publicKey: 'MAA=' }] }).ok, false);
  assert.equal(parseBundle({ ...plain, jwtAuthorities: [{ keyId: 'k'.repeat(257), publicKey: 'MAA=' }] }).ok, false);
});

test('a sequence that a number cannot hold is refused', () => {
  assert.equal(bundleFromWire({ ...bundleToWire(plain), sequence: 2n ** 60n }).ok, false);
});
