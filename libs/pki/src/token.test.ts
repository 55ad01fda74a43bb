import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makeToken, parseToken } from './token.ts';
import { sha256Hex } from './x509-svid.ts';

const pinSha256 = sha256Hex('root');

test('a token carries whom it is for and the pin; only its hash is needed to know it again', () => {
  const made = makeToken({ prefix: 'ijt', pinSha256, fields: { agent: 'a' } });
  const parsed = parseToken(` ${made.token}\n`);
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value, { prefix: 'ijt', fields: { agent: 'a' }, pinSha256, secretSha256: made.secretSha256 });
  assert.equal(made.id, made.secretSha256.slice(0, 12));
});

test('no two tokens are the same', () => {
  const request = { prefix: 'ict', pinSha256, fields: {} } as const;
  assert.notEqual(makeToken(request).secretSha256, makeToken(request).secretSha256);
});

test('garbage is no token, and is not repeated in what is said of it', () => {
  const { token } = makeToken({ prefix: 'ict', pinSha256, fields: {} });
  for (const bad of ['', 'ijt_secret', token.slice(0, -1), token.replace('ict1', 'xyz1'), `${token}x`, 'x'.repeat(3_000), token.replace(/\.[^.]+\./, '.e30.')]) {
    const parsed = parseToken(bad);
    assert.ok(!parsed.ok, bad);
    if (bad !== '') assert.equal(JSON.stringify(parsed).includes(bad), false);
  }
});

test('a changed character is never an exception, and the secret is never told', () => {
  const { token } = makeToken({ prefix: 'ijt', pinSha256, fields: { agent: 'a', cluster: 'east' } });
  const secret = token.slice(-43);
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), fc.nat(token.length), (at, char, end) => {
      const parsed = parseToken(token.slice(0, at) + char + token.slice(at + 1));
      return !JSON.stringify(parsed).includes(secret) && !parseToken(token.slice(0, Math.min(end, token.length - 1))).ok;
    }),
    { numRuns: 500 },
  );
});
