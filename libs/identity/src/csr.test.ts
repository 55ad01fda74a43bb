import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { generateKey, type KeyKind, makeCsr } from '@isthmus/pki';
import { publicKeyOf } from './csr.ts';

const ID = 'spiffe://east.acme.example/agent/vm-1' as SpiffeId;
const refusal = (pattern: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, 'IDENTITY_CSR_REFUSED', error.message);
  assert.match(error.message, pattern);
  return true;
};

for (const kind of ['ec-p256', 'ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  test(`the key of a ${kind} request is taken, and nothing else of it`, () => {
    const key = generateKey(kind);
    assert.ok(publicKeyOf(makeCsr({ key, spiffeId: ID }), ID).equals(createPublicKey(key)));
  });
}

test('a weak key, an oversized one, another name, a forged signature and garbage are each refused', () => {
  const key = generateKey();
  const good = makeCsr({ key, spiffeId: ID });
  const forged = Buffer.from(good);
  forged[forged.length - 3] = (forged.at(-3) ?? 0) ^ 1;
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey;
  const rows: readonly { readonly name: string; readonly csr: Buffer; readonly why: RegExp }[] = [
    { name: 'RSA 1024', csr: makeCsr({ key: rsa(1_024), spiffeId: ID }), why: /weaker/ },
    { name: 'EC P-224', csr: makeCsr({ key: generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).privateKey, spiffeId: ID }), why: /secp224r1/ },
    { name: 'other agent', csr: makeCsr({ key, spiffeId: 'spiffe://east.acme.example/agent/vm-2' as SpiffeId }), why: /another name/ },
    { name: 'CRLF in the name', csr: makeCsr({ key, spiffeId: `${ID}\r\nx` as SpiffeId }), why: /another name/ },
    { name: 'forged', csr: forged, why: /own key|PKCS#10/ },
    { name: 'garbage', csr: Buffer.from('garbage'), why: /PKCS#10/ },
    { name: 'empty', csr: Buffer.alloc(0), why: /PKCS#10/ },
    { name: 'too large', csr: Buffer.alloc(17_000), why: /larger/ },
  ];
  for (const row of rows) assert.throws(() => publicKeyOf(row.csr, ID), refusal(row.why), row.name);
});
