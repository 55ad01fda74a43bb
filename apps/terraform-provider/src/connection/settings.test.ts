import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { IsthmusError } from '@isthmus/model';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openApi } from './api.ts';
import { environmentNameOf, readSettings, settingsAttributes, settingsProblems } from './settings.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-settings-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const file = (name: string, text: string, mode: number): string => {
  const path = join(directory, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
};
const named = (pattern: RegExp) => (error: IsthmusError) => pattern.test(error.message);

test('a variable says what the block leaves out, and the block goes before it', async () => {
  const env = { ISTHMUS_ENDPOINTS: 'a:1, b:2', ISTHMUS_CLUSTER: 'west', ISTHMUS_TOKEN: 'of-env', ISTHMUS_FEDERATION: '' };
  const settings = await readSettings({ cluster: 'east', token_file: file('token', 'of-file\n', 0o600) }, env);
  assert.deepEqual([settings.endpoints, settings.cluster, settings.token, settings.federation], [['a:1', 'b:2'], 'east', 'of-file', undefined]);
});

test('every attribute has its variable, and the page says so', () => {
  for (const [name, { description }] of Object.entries(settingsAttributes())) assert.ok(description.includes(`\`${environmentNameOf(name)}\``), name);
});

test('what is wrong is told by the name the person wrote it under', async () => {
  await assert.rejects(readSettings({}, { ISTHMUS_ENDPOINTS: 'gateway' }), named(/^ISTHMUS_ENDPOINTS\[0\]: /));
  await assert.rejects(readSettings({ endpoints: ['gateway'] }, {}), named(/^endpoints\[0\]: /));
  assert.deepEqual(settingsProblems({ token: 'a', token_file: 'b' }).map((p) => p.path), ['token_file']);
});

test('a key or token others can read is refused, and a file that is not there is named', async () => {
  await assert.rejects(readSettings({ client_key_file: file('open.key', 'x', 0o644) }, {}), named(/^client_key_file: .*open\.key/));
  await assert.rejects(readSettings({ ca_certificate_file: join(directory, 'none') }, {}), named(/^ca_certificate_file: .*none/));
});

test('a token’s file is read without its line end, each time it is asked for, and no longer once others can read it', async () => {
  const path = file('renewed-token', 'first\n', 0o600);
  const { token, readToken } = await readSettings({ token_file: path }, {});
  assert.equal(token, 'first');
  assert.ok(readToken !== undefined);
  file('renewed-token', 'second\n', 0o600);
  assert.equal(await readToken(), 'second');
  file('renewed-token', 'third\n', 0o644);
  await assert.rejects(readToken(), named(/^token_file: .*renewed-token/));
  await assert.rejects(readSettings({ token_file: path }, {}), named(/^token_file: .*renewed-token/));
  assert.equal((await readSettings({ token: 'given' }, {})).readToken, undefined);
  assert.deepEqual(Object.entries(settingsAttributes()).flatMap(([name, a]) => (a.isSensitive === true ? [name] : [])).toSorted(), ['client_key', 'token']);
});

test('certificates and keys are checked before anything is dialled', () => {
  const settings = { endpoints: [], federation: undefined, cluster: undefined, caPem: undefined, clientCertPem: undefined, clientKeyPem: undefined, token: undefined, trustRootSocket: undefined };
  const parts = { clock: systemClock, random: systemRandom };
  const [one, two] = [testAuthority(), testAuthority()].map((a) => a.issue(`spiffe://${a.trustDomain}/operator/alice`)).map((svid) => ({ cert: svid.chain.map((der) => `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`).join(''), key: svid.key.export({ type: 'pkcs8', format: 'pem' }).toString() }));
  assert.ok(one && two);
  assert.throws(() => openApi({ ...settings, caPem: 'nothing' }, parts), named(/^ca_certificate: holds no certificate/));
  assert.throws(() => openApi({ ...settings, clientKeyPem: one.key }, parts), named(/^client_certificate: is missing/));
  assert.throws(() => openApi({ ...settings, clientCertPem: one.cert, clientKeyPem: two.key }, parts), named(/client_certificate and client_key: /));
  assert.ok(openApi({ ...settings, clientCertPem: one.cert, clientKeyPem: one.key }, parts));
});

test('what a call needs and was not given is named, with its variable', async () => {
  const api = openApi({ endpoints: ['127.0.0.1:1'], federation: 'acme.example', cluster: undefined, caPem: undefined, clientCertPem: undefined, clientKeyPem: undefined, token: 't', trustRootSocket: undefined }, { clock: systemClock, random: systemRandom });
  await assert.rejects(api.call('listClusters', {}, AbortSignal.timeout(5_000)), { code: 'TERRAFORM_NOT_CONFIGURED', message: 'the provider needs cluster', hint: /ISTHMUS_CLUSTER/ });
  const socket = openApi({ endpoints: [], federation: undefined, cluster: undefined, caPem: undefined, clientCertPem: undefined, clientKeyPem: undefined, token: undefined, trustRootSocket: join(directory, 'none.sock') }, { clock: systemClock, random: systemRandom });
  await assert.rejects(socket.membership.members(AbortSignal.timeout(15_000)), { code: 'TERRAFORM_NOT_CONFIGURED', message: /trust_root_socket: .*none\.sock/ });
});
