import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatProblems, IsthmusError } from '@isthmus/model';
import { openAccess, readTls, readToken } from './access.ts';
import { parseKubeconfig } from './kubeconfig.ts';

const config = (cluster: string, user: string, current = 'east'): string => `current-context: ${current}
contexts: [{ name: east, context: { cluster: c, user: u } }, { name: bare, context: { cluster: c } }]
clusters: [{ name: c, cluster: { ${cluster} } }]
users: [{ name: u, user: { ${user} } }]
`;
const SERVER = 'server: "https://10.0.0.1:6443"';

test('a context is read: server, CA, name, and a token or a certificate; data wins over files', () => {
  const read = parseKubeconfig(config(`${SERVER}, certificate-authority: ca.pem, tls-server-name: kubernetes`, 'client-certificate-data: YQ==, client-certificate: no.pem, client-key: key.pem, token: t'));
  assert.ok(read.ok);
  assert.deepEqual(read.value, {
    server: 'https://10.0.0.1:6443',
    ca: { file: 'ca.pem' },
    serverName: 'kubernetes',
    token: { text: 't' },
    clientCertificate: { certificate: { text: 'a' }, key: { file: 'key.pem' } },
  });
  const bare = parseKubeconfig(config(SERVER, 'token: t'), { context: 'bare' });
  assert.ok(bare.ok);
  assert.equal(bare.value.token, undefined, 'another context has another user');
});

const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ['a server without TLS', config('server: "http://10.0.0.1"', 'token: t'), /https/],
  ['a password in the address', config('server: "https://a:b@10.0.0.1"', 'token: t'), /user or password/],
  ['an address that is none', config('server: "https://"', 'token: t'), /no address/],
  ['TLS that is not checked', config(`${SERVER}, insecure-skip-tls-verify: true`, 'token: t'), /insecure-skip-tls-verify/],
  ['a proxy', config(`${SERVER}, proxy-url: "http://x"`, 'token: t'), /proxy-url/],
  ['a program for credentials', config(SERVER, 'exec: { command: aws }'), /exec.*no program is run/],
  ['an auth provider', config(SERVER, 'auth-provider: { name: gcp }'), /auth-provider/],
  ['a password', config(SERVER, 'username: a, password: b'), /passwords/],
  ['impersonation', config(SERVER, 'token: t, as: root'), /impersonation/],
  ['a certificate without its key', config(SERVER, 'client-certificate: a.pem'), /go together/],
  ['data that is no base64', config(`${SERVER}, certificate-authority-data: "%%"`, 'token: t'), /base64/],
  ['a context that is not there', config(SERVER, 'token: t', 'west'), /none named "west"/],
  ['two documents', `${config(SERVER, 'token: t')}---\n{}\n`, /one document/],
  ['a list for clusters', 'contexts: []\nclusters: 5\n', /clusters/],
  ['no YAML', '{', /kubeconfig/],
  ['a megabyte', `# ${'x'.repeat(1024 * 1024)}`, /larger/],
];
for (const [name, text, why] of REFUSED) {
  test(`a kubeconfig with ${name} is refused`, () => {
    const read = parseKubeconfig(text);
    assert.ok(!read.ok);
    assert.match(formatProblems(read.problems), why);
  });
}

test('files of a kubeconfig are relative to it, and read anew each time', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
  const path = join(dir, 'config');
  await writeFile(path, config(`${SERVER}, certificate-authority: ca.pem`, 'tokenFile: token'));
  await writeFile(join(dir, 'ca.pem'), 'one');
  await writeFile(join(dir, 'token'), ' t1\n');
  const access = await openAccess({ kubeconfig: path });
  assert.deepEqual([(await readTls(access)).ca, await readToken(access)], ['one', 't1']);
  await writeFile(join(dir, 'ca.pem'), 'two');
  await writeFile(join(dir, 'token'), 't2');
  assert.deepEqual([(await readTls(access)).ca, await readToken(access)], ['two', 't2']);
  await rm(dir, { recursive: true });
  await assert.rejects(readToken(access), (error: unknown) => error instanceof IsthmusError && error.code === 'DISCOVERY_KUBERNETES_AWAY');
  await assert.rejects(openAccess({ kubeconfig: path }), (error: unknown) => error instanceof IsthmusError && error.code === 'DISCOVERY_KUBERNETES_CONFIG');
});

test('a pod uses its service account, over TLS alone', async () => {
  const access = await openAccess({ serviceAccountDir: '/sa' });
  assert.deepEqual(access, { server: 'https://kubernetes.default.svc', ca: { file: '/sa/ca.crt' }, token: { file: '/sa/token' } });
  await assert.rejects(openAccess({ server: 'http://kubernetes.default.svc' }), /https/);
});
