import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SpiffeId } from '@isthmus/model';
import { openBundleSet } from './bundle-set.ts';
import { generateKey } from './key.ts';
import { signRecord, verifyRecord } from './signed-record.ts';
import { testAuthority } from './testing.ts';
import { makeToken, parseToken } from './token.ts';
import { sha256Hex } from './x509-svid.ts';

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

test('no bytes are an exception', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof verifyRecord(bytes, expected).ok === 'boolean'));
  fc.assert(fc.property(fc.json(), (json) => !verifyRecord(Buffer.from(json), expected).ok));
});

test('a bundle set never goes back in sequence, and tells of changes', () => {
  const set = openBundleSet([{ ...east.bundle, sequence: 5 }]);
  let told = 0;
  const stop = set.onChange(() => (told += 1));
  assert.equal(set.update({ ...east.bundle, sequence: 4, x509Authorities: [] }), false);
  assert.equal(set.update({ ...east.bundle, sequence: 5, x509Authorities: [] }), false);
  assert.equal(set.get('east.acme.example')?.x509Authorities.length, 1);
  assert.equal(set.update({ ...east.bundle, sequence: 6 }), true);
  assert.equal(set.update(west.bundle), true);
  stop();
  set.remove('west.acme.example');
  assert.deepEqual([told, set.all().map((b) => b.trustDomain)], [2, ['east.acme.example']]);
});

test('a token carries whom it is for and the pin; only its hash is needed to know it again', () => {
  const pinSha256 = sha256Hex('root');
  const made = makeToken({ prefix: 'ijt', pinSha256, fields: { agent: 'a' } });
  const parsed = parseToken(` ${made.token}\n`);
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value, { prefix: 'ijt', fields: { agent: 'a' }, pinSha256, secretSha256: made.secretSha256 });
  assert.equal(made.id, made.secretSha256.slice(0, 12));
});

test('garbage is no token, and is not repeated in what is said of it', () => {
  const { token } = makeToken({ prefix: 'ict', pinSha256: sha256Hex('root'), fields: {} });
  for (const bad of ['', 'ijt_secret', token.slice(0, -1), token.replace('ict1', 'xyz1'), `${token}x`, 'x'.repeat(3_000), token.replace(/\.[^.]+\./, '.e30.')]) {
    const parsed = parseToken(bad);
    assert.ok(!parsed.ok, bad);
    if (bad !== '') assert.equal(JSON.stringify(parsed).includes(bad), false);
  }
});
