import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import test from 'node:test';
import { inspect } from 'node:util';
import { redact, Secret } from './secret.ts';

test('a secret gives its text to reveal() and to nothing else', () => {
  const secret = new Secret('hunter2');
  assert.equal(secret.reveal(), 'hunter2');
  for (const shown of [String(secret), `${secret}`, JSON.stringify({ secret }), inspect(secret), inspect({ deep: { secret } }), Object.values(secret).join()]) {
    assert.doesNotMatch(shown, /hunter2/);
  }
});

test('a private key in PEM is blanked, whole or cut short, and the text around it stays', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const body = pem.split('\n')[1] ?? '';
  assert.equal(redact(`before ${pem.trim()} after`), 'before [redacted key] after');
  assert.doesNotMatch(redact(`cut ${pem.slice(0, 80)}`), new RegExp(body.slice(0, 10).replaceAll('+', '\\+')));
  assert.doesNotMatch(redact(pem.replaceAll('PRIVATE', 'EC PRIVATE')), new RegExp(body.slice(0, 10).replaceAll('+', '\\+')));
});

test('bootstrap and join tokens are blanked wherever they stand', () => {
  assert.equal(redact('token=ict1.QUJD.cGlu-_x rest'), 'token=[redacted token] rest');
  assert.equal(redact('"ijt1.AAAA.BBBB"'), '"[redacted token]"');
});

test('ordinary text is left as it is', () => {
  const text = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE----- east.acme.example';
  assert.equal(redact(text), text);
});
