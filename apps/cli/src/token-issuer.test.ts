// Tokens of an issuer on real HTTPS: by a client's secret, by a person's yes, by a refresh token, and every way it says no.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startTestIssuer, type TestIssuer } from '@isthmus/identity/testing';
import type { IsthmusError } from '@isthmus/model';
import { bearerToken, keepToken } from './bearer.ts';
import { clientCredentials, deviceToken, endOf, type IssuerSource, refreshed } from './token-issuer.ts';

let issuer: TestIssuer;
let dir: string;
let secretFile: string;
const source = (more: Partial<IssuerSource> = {}): IssuerSource => ({ issuer: issuer.url, caFile: issuer.caFile, clientId: 'machine', ...more });
const refusedWith = (pattern: RegExp) => (error: IsthmusError) => error.code === 'CLI_ISSUER' && pattern.test(error.message);

before(async () => {
  issuer = await startTestIssuer({ clientSecret: 's3cret' });
  dir = await mkdtemp(join(tmpdir(), 'isthmus-bearer-'));
  secretFile = join(dir, 'secret');
  await writeFile(secretFile, 's3cret\n');
});
after(async () => {
  await issuer.close();
  await rm(dir, { recursive: true });
});

test('a client with the right secret gets a token that lasts, one with a wrong secret what the issuer said', async () => {
  const got = await clientCredentials(source({ clientSecretFile: secretFile, scope: 'admin', audience: 'isthmus' }));
  assert.ok(got.expiresAtMs > Date.now() && endOf(got.token) > Date.now());
  assert.deepEqual([issuer.forms.at(-1)?.get('scope'), issuer.forms.at(-1)?.get('audience')], ['admin', 'isthmus']);
  const wrong = join(dir, 'wrong');
  await writeFile(wrong, 'nope');
  await assert.rejects(clientCredentials(source({ clientSecretFile: wrong })), refusedWith(/401 invalid_client: unknown client/));
});

test('a person is shown an address and a code, and the token comes once that one said yes', async () => {
  const shown: string[] = [];
  const got = await deviceToken(source({ clientId: 'cli' }), ({ address, code }) => {
    shown.push(`${address} ${code}`);
    issuer.sayYes('alice');
  });
  assert.deepEqual(shown, [`${issuer.url}/device?code=WDJB-MJHT WDJB-MJHT`]);
  assert.ok(got.refreshToken);
  const again = await refreshed(source({ clientId: 'cli' }), got.refreshToken);
  assert.ok(again !== undefined && again.token !== '');
  assert.equal(await refreshed(source({ clientId: 'cli' }), 'stolen'), undefined);
  await assert.rejects(deviceToken(source({ clientId: 'cli' }), () => issuer.sayNo()), refusedWith(/access_denied/));
});

test('an issuer behind another certificate, of another name, or without https is not asked', async () => {
  await assert.rejects(clientCredentials({ issuer: issuer.url, clientId: 'machine', clientSecretFile: secretFile }), refusedWith(/cannot be asked: .*(self-signed|certificate)/));
  await assert.rejects(clientCredentials(source({ clientSecretFile: secretFile, issuer: `${issuer.url}/` })), refusedWith(/of another issuer/));
  await assert.rejects(clientCredentials(source({ clientSecretFile: secretFile, issuer: 'http://issuer.example' })), refusedWith(/is not https/));
});

test('a token that lasts is used again, one that ran out is got anew, and without a way to get one the login is over', async () => {
  const identityDir = join(dir, 'identity');
  const bearer = source({ clientSecretFile: secretFile });
  const first = await bearerToken({ bearer, identityDir });
  const asked = issuer.forms.length;
  assert.equal(await bearerToken({ bearer, identityDir }), first);
  assert.equal(issuer.forms.length, asked);
  await keepToken(identityDir, { token: 'old', expiresAtMs: Date.now() + 1_000 });
  assert.notEqual(await bearerToken({ bearer, identityDir }), 'old');
  assert.doesNotMatch(await readFile(join(identityDir, 'token.json'), 'utf8'), /s3cret/);
  await keepToken(identityDir, { token: 'old', expiresAtMs: 1 });
  for (const over of [source(), { stored: true } as const, { tokenFile: join(dir, 'none') }]) {
    await assert.rejects(bearerToken({ bearer: over, identityDir }), (error: IsthmusError) => error.code === 'CLI_LOGGED_OUT' && error.hint !== undefined);
  }
});
