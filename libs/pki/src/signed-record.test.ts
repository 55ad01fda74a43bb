import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SpiffeId } from '@isthmus/model';
import { type Issuer, signIntermediate, signSvid } from './certificate.ts';
import { generateKey } from './key.ts';
import { signRecord, verifyRecord } from './signed-record.ts';
import { testAuthority } from './testing.ts';
import { makeX509Svid } from './x509-svid.ts';

const nowMs = Date.now();
const ID = 'spiffe://east.acme.example/control-plane' as SpiffeId;
const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });
const svid = east.issue(ID);
const record = signRecord(Buffer.from('{"readyCount":2}'), svid);
const expected = { bundle: east.bundle, expectedId: ID, nowMs };

function reasonOf(bytes: Uint8Array, over: Partial<Parameters<typeof verifyRecord>[1]> = {}): string {
  const verdict = verifyRecord(bytes, { ...expected, ...over });
  return verdict.ok ? Buffer.from(verdict.payload).toString() : verdict.reason;
}

const edited = (edit: (envelope: { payload: string; signature: string; chain: string[] }) => void): Buffer => {
  const envelope = JSON.parse(Buffer.from(record).toString()) as { payload: string; signature: string; chain: string[] };
  edit(envelope);
  return Buffer.from(JSON.stringify(envelope));
};

test('a record verifies by its own chain, for EC and Ed25519 keys', () => {
  assert.equal(reasonOf(record), '{"readyCount":2}');
  assert.equal(reasonOf(signRecord(Buffer.from('x'), east.issue(ID, { key: generateKey('ed25519') }))), 'x');
});

test('a changed payload, another signer, another domain, an old chain and too many bytes are refused', () => {
  assert.equal(reasonOf(edited((e) => (e.payload = Buffer.from('{"readyCount":9}').toString('base64')))), 'bad-signature');
  assert.equal(reasonOf(signRecord(Buffer.from('x'), east.issue('spiffe://east.acme.example/agent/a'))), 'wrong-signer');
  assert.equal(reasonOf(record, { bundle: west.bundle }), 'wrong-trust-domain');
  assert.equal(reasonOf(record, { bundle: undefined }), 'no-bundle');
  assert.equal(reasonOf(record, { nowMs: nowMs + 7_200_000 }), 'expired');
  assert.equal(reasonOf(record, { maxBytes: 10 }), 'too-large');
  assert.equal(reasonOf(edited((e) => (e.chain = []))), 'malformed');
});

test('a chain that was good once is still refused when its time is over (the cache is no way around)', () => {
  assert.notEqual(reasonOf(record), 'expired');
  assert.equal(reasonOf(record, { nowMs: svid.expiresAtMs + 120_000 }), 'expired');
});

test('a record is not good for longer than the shortest-lived certificate of its chain, though it was verified before', () => {
  const short: Issuer = { key: east.intermediate.key, cert: signIntermediate({ issuer: east.root, publicKey: createPublicKey(east.intermediate.key), trustDomain: east.trustDomain, nowMs, ttlMs: 600_000 }) };
  const key = generateKey();
  const leaf = signSvid({ issuer: east.intermediate, publicKey: createPublicKey(key), spiffeId: ID, nowMs, ttlMs: 3_600_000 });
  const bytes = signRecord(Buffer.from('x'), makeX509Svid([leaf, short.cert], key));
  assert.equal(reasonOf(bytes), 'x');
  assert.equal(reasonOf(bytes, { nowMs: nowMs + 1_200_000 }), 'expired');
});

test('a changed byte is never an exception and never another payload', () => {
  const bytes = Buffer.from(record);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
      const changed = Buffer.from(bytes);
      for (const [at, value] of changes) changed[at] = value;
      const verdict = verifyRecord(changed, expected);
      return !verdict.ok || Buffer.from(verdict.payload).toString() === '{"readyCount":2}';
    }),
    { numRuns: 500 },
  );
});

test('no bytes are an exception', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof verifyRecord(bytes, expected).ok === 'boolean'));
  fc.assert(fc.property(fc.json(), (json) => !verifyRecord(Buffer.from(json), expected).ok));
});
