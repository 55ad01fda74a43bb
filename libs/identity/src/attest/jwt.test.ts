// Attestation by tokens of an issuer: a real control plane, a real JWKS server, and every token it must not take.
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { IsthmusError, type TrustDomain } from '@isthmus/model';
import { signTestToken } from '@isthmus/pki/testing';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { serveIssuance } from '../issuance/issuance.ts';
import { joinOrResume, type Identity, type IdentityOptions } from '../proxy/join.ts';
import { FEDERATION, recordingLog, startTestCluster, startTestTrustRoot, type TestCluster, testDir, type TestTrustRoot, until } from '../testing.ts';
import type { JwtIssuer } from './jwt.ts';

const AUDIENCE = 'isthmus://east.acme.example';
const SUBJECT = 'system:serviceaccount:shop:payments';

/** An issuer on loopback: discovery, keys that may change, and what it was asked. */
type TestIssuer = { readonly url: string; readonly asked: string[]; keys: readonly (readonly [string, KeyObject])[]; isDown: boolean; close(): void };
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let issuer: TestIssuer;
let east: TestCluster;
const audit = recordingLog();
const first = generateKeyPairSync('ec', { namedCurve: 'P-256' });

before(async () => {
  dir = await testDir('jwt');
  root = await startTestTrustRoot(join(dir.path, 'root'));
  issuer = await startIssuer();
  const rules: JwtIssuer['rules'] = [
    { match: { sub: { prefix: 'system:serviceaccount:shop:' }, '/kubernetes.io/namespace': 'shop' }, agent: 'pod-{/kubernetes.io/pod/name}', services: ['{/kubernetes.io/namespace}/{/kubernetes.io/serviceaccount/name}'] },
    { match: { sub: 'edge' }, agent: 'edge', role: 'gateway' },
  ];
  const jwt = [{ name: 'k8s', issuer: issuer.url, audience: AUDIENCE, discover: true, rules }];
  east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), attestation: { jwt }, log: audit.log });
}, { timeout: 60_000 });

after(async () => {
  await east.close();
  await root.close();
  issuer.close();
  await dir.remove();
});

async function startIssuer(): Promise<TestIssuer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    if (made.isDown) return response.writeHead(503).end();
    // As Kubernetes' API server does with whoever asks for JSON alone.
    if (request.url === '/jwks' && request.headers.accept?.includes('application/jwk-set+json') !== true) return response.writeHead(406).end();
    if (request.url === '/jwks') return response.end(JSON.stringify({ keys: made.keys.map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid, alg: 'ES256' })) }));
    return response.end(JSON.stringify({ issuer: made.url, jwks_uri: `${made.url}/jwks` }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const made: TestIssuer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    keys: [['one', first.publicKey]],
    isDown: false,
    close: () => server.close(),
  };
  return made;
}

function claims(pod: string, over: object = {}): object {
  const nowS = Math.floor(Date.now() / 1_000);
  const kubernetes = { namespace: 'shop', pod: { name: pod }, serviceaccount: { name: 'payments' } };
  return { iss: issuer.url, aud: [AUDIENCE], sub: SUBJECT, iat: nowS, nbf: nowS, exp: nowS + 600, 'kubernetes.io': kubernetes, ...over };
}
const tokenOf = (body: object, key = first.privateKey, kid = 'one'): string => signTestToken(body, { key, kid });

async function optionsWith(read: () => Promise<string>, over: Partial<IdentityOptions> = {}): Promise<IdentityOptions> {
  return {
    stateDir: await mkdtemp(join(dir.path, 'proxy-')),
    server: { address: east.address },
    attestation: { cluster: 'east', federation: FEDERATION, rootSha256: [east.authority.rootSha256], source: { method: 'jwt', read } },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    joinTimeoutMs: 500,
    ...over,
  };
}
async function joinWith(token: string, over: Partial<IdentityOptions> = {}): Promise<Identity> {
  return joinOrResume(await optionsWith(() => Promise.resolve(token), over));
}
const refusedFor = (reason: RegExp) => (error: unknown) => {
  assert.ok(error instanceof IsthmusError, String(error));
  assert.equal(error.code, 'IDENTITY_ATTESTATION_REFUSED');
  assert.match(error.message, reason);
  return true;
};

test('a pod joins by its service-account token; the rule gives it name and services, the audit record no secret', async () => {
  const token = tokenOf(claims('a1'));
  const proxy = await joinWith(token);
  assert.equal(proxy.spiffeId, 'spiffe://east.acme.example/agent/pod-a1');
  assert.equal(proxy.agent, 'pod-a1');
  const service = proxy.serviceSvids({ namespace: 'shop', name: 'payments' });
  await until(() => service.current() !== undefined, 'the SVID of the service the rule lists');
  await proxy.close();
  const record = audit.lines.find((line) => line.includes('"audit"') && line.includes('pod-a1')) ?? '';
  assert.match(record, /"outcome":"admitted","method":"jwt","subject":"k8s system:serviceaccount:shop:payments","agent":"pod-a1","role":"agent","address":"127\.0\.0\.1"/);
  for (const line of audit.lines) assert.ok(!line.includes(token.slice(-20)) && !line.includes(token.slice(0, 40)));
  const entry = (await east.issuance.listEntries()).find(({ agent }) => agent === 'pod-a1');
  assert.deepEqual([entry?.method, entry?.subject], ['jwt', `k8s ${SUBJECT}`]);
});

test('a gateway joins by a rule with its role', async () => {
  const proxy = await joinWith(tokenOf(claims('x', { sub: 'edge' })));
  assert.equal(proxy.spiffeId, 'spiffe://east.acme.example/gateway');
  await proxy.close();
});

const nowS = (): number => Math.floor(Date.now() / 1_000);
const rows: readonly (readonly [string, () => object, RegExp])[] = [
  ['wrong audience', () => ({ aud: 'isthmus://west.acme.example' }), /"aud"/],
  ['wrong issuer', () => ({ iss: 'https://evil.example' }), /none of those configured/],
  ['expired', () => ({ exp: nowS() - 120, iat: nowS() - 600 }), /exp/],
  ['from the future', () => ({ nbf: nowS() + 300 }), /nbf/],
  ['issued in the future', () => ({ iat: nowS() + 300 }), /future/],
  ['without an end', () => ({ exp: undefined }), /never expires/],
  ['living a year', () => ({ exp: nowS() + 31_536_000 }), /lives/],
  ['of a namespace no rule names', () => ({ sub: 'system:serviceaccount:other:x' }), /no rule/],
  ['whose claim the prefix only contains', () => ({ sub: 'x system:serviceaccount:shop:payments' }), /no rule/],
  ['whose pod name is no plain word', () => ({ 'kubernetes.io': { namespace: 'shop', pod: { name: 'a/../b' }, serviceaccount: { name: 'payments' } } }), /no plain word/],
  ['without the claim the name is made of', () => ({ 'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'payments' } } }), /no claim/],
];
for (const [name, over, reason] of rows) {
  test(`refused: a token ${name}`, async () => {
    await assert.rejects(joinWith(tokenOf(claims('bad', over()))), refusedFor(reason));
    assert.match(audit.lines.at(-1) ?? '', /"outcome":"refused","method":"jwt","reason":"/);
  });
}

test('a token is good once: a second use is refused, also with another key and name for the signing request', async () => {
  const token = tokenOf(claims('once'));
  await (await joinWith(token)).close();
  await assert.rejects(joinWith(token), refusedFor(/used before/));
  assert.match(audit.lines.at(-1) ?? '', /"reason":"replayed"/);
  assert.equal((await east.store.store.list(keys.usedEvidence('jwt'))).entries.length > 0, true);
});

test('row 42: of ten uses at once over two control planes on one store, exactly one is admitted', async () => {
  const other = await startTestCluster(join(dir.path, 'east-2'), {
    cluster: 'east',
    trustRoot: { address: root.address },
    token: await root.token('east', { replace: true }),
    store: east.store,
    attestation: { jwt: [{ name: 'k8s', issuer: issuer.url, audience: AUDIENCE, discover: true, rules: [{ match: { sub: SUBJECT }, agent: 'pod-{/kubernetes.io/pod/name}' }] }] },
  });
  const token = tokenOf(claims('race'));
  const attempts = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => joinWith(token, { server: { address: i % 2 === 0 ? east.address : other.address } })));
  const admitted = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []));
  assert.equal(admitted.length, 1);
  for (const attempt of attempts) if (attempt.status === 'rejected') refusedFor(/used before/)(attempt.reason);
  await Promise.all(admitted.map((proxy) => proxy.close()));
  await other.close();
});

test('a name belongs to the subject that had it first', async () => {
  await (await joinWith(tokenOf(claims('mine')))).close();
  await assert.rejects(joinWith(tokenOf(claims('mine', { sub: 'system:serviceaccount:shop:thief' }))), refusedFor(/belongs to another/));
  const { token } = await east.issuance.createJoinToken({ agent: 'pod-by-hand', role: 'agent', services: [] });
  await (await joinOrResume({ ...(await optionsWith(() => Promise.reject(new Error('not asked')))), attestation: undefined, token })).close();
  await assert.rejects(joinWith(tokenOf(claims('by-hand'))), refusedFor(/belongs to another, who joined by token/));
});

test('an agent that is refused attests again by itself with the token then in its file, once an operator lets it', async () => {
  const file = join(dir.path, 'sa-token');
  await writeFile(file, tokenOf(claims('sleeper')));
  const { readFile } = await import('node:fs/promises');
  const options = await optionsWith(() => readFile(file, 'utf8'));
  const proxy = await joinOrResume(options);
  const before = proxy.svids.current();
  assert.equal(await east.issuance.deleteEntry('agent', 'pod-sleeper'), true);
  await proxy.renewNow();
  assert.match(proxy.status().lastError ?? '', /removed by an operator/, 'removed by an operator it stays out');
  await east.issuance.readmit('pod-sleeper');
  await proxy.renewNow();
  assert.match(proxy.status().lastError ?? '', /used before/, 'the old token is spent');
  await writeFile(file, tokenOf(claims('sleeper', { jti: 'second' })));
  await proxy.renewNow();
  assert.equal(proxy.status().lastError, undefined);
  assert.notDeepEqual(proxy.svids.current()?.chain, before?.chain);
  await proxy.close();
});

test('row 91: an agent whose machine slept over the end of its SVID attests again at its start', async () => {
  const first = await joinWith(tokenOf(claims('slept')));
  await first.close();
  // Time moves on only for the look at what is on disk: the control plane beside this test has the real one.
  let aheadMs = 2 * 3_600_000;
  const options = await optionsWith(() => {
    aheadMs = 0;
    return Promise.resolve(tokenOf(claims('slept', { jti: 'after the sleep' })));
  });
  const stateDir = join(dir.path, 'slept');
  const again = async (over: Partial<IdentityOptions>) => joinOrResume({ ...options, stateDir, ...over });
  await (await again({ attestation: { ...(options.attestation ?? assert.fail()), source: { method: 'jwt', read: () => Promise.resolve(tokenOf(claims('slept', { jti: 'before it' }))) } } })).close();
  const clock = { ...systemClock, nowMs: () => Date.now() + aheadMs };
  const proxy = await again({ clock });
  assert.equal(aheadMs, 0, 'what was on disk had run out, so evidence was read');
  assert.equal(proxy.agent, 'pod-slept');
  await proxy.close();
  aheadMs = 2 * 3_600_000;
  await assert.rejects(again({ clock, attestation: undefined }), (error: unknown) => error instanceof IsthmusError && error.code === 'IDENTITY_NO_IDENTITY');
});

test('a new key of the issuer is found by one look, and unknown keys do not make the control plane a client of the issuer', async () => {
  const next = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  let aheadMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  const lone = await startTestCluster(join(dir.path, 'keys'), {
    cluster: 'keys',
    trustRoot: { address: root.address },
    token: await root.token('keys'),
    clock,
    attestation: { jwt: [{ name: 'k8s', issuer: issuer.url, audience: AUDIENCE, jwksUrl: `${issuer.url}/jwks`, rules: [{ match: { sub: SUBJECT }, agent: '{/kubernetes.io/pod/name}' }] }] },
  });
  const attestation = { cluster: 'keys', federation: FEDERATION as TrustDomain, rootSha256: [lone.authority.rootSha256] };
  const joinLone = (token: string) => joinWith(token, { server: { address: lone.address }, attestation: { ...attestation, source: { method: 'jwt', read: () => Promise.resolve(token) } } });
  try {
    await (await joinLone(tokenOf(claims('k-1')))).close();
    const asked = issuer.asked.length;
    for (let i = 0; i < 5; i++) await assert.rejects(joinLone(tokenOf(claims(`k-${i}`), next.privateKey, 'two')), refusedFor(/no applicable key/));
    assert.equal(issuer.asked.length, asked, 'within 10 s of the last fetch nobody is asked');
    issuer.keys = [...issuer.keys, ['two', next.publicKey]];
    aheadMs += 11_000;
    await (await joinLone(tokenOf(claims('k-2'), next.privateKey, 'two'))).close();
    assert.equal(issuer.asked.length, asked + 1);
    issuer.isDown = true;
    aheadMs += 3_600_000;
    await (await joinLone(tokenOf(claims('k-3')))).close();
    await until(() => issuer.asked.length > asked + 1, 'a look behind the caller’s back');
    await (await joinLone(tokenOf(claims('k-4'), next.privateKey, 'two'))).close();
  } finally {
    issuer.isDown = false;
    await lone.close();
  }
});

test('an issuer whose keys were never had is away, not wrong: the joiner may try again', async () => {
  const away = await startTestCluster(join(dir.path, 'away'), {
    cluster: 'away',
    trustRoot: { address: root.address },
    token: await root.token('away'),
    attestation: { jwt: [{ name: 'gone', issuer: issuer.url, audience: AUDIENCE, jwksFile: join(dir.path, 'none.json'), rules: [{ match: { sub: SUBJECT }, agent: 'a' }] }] },
  });
  const source = { method: 'jwt' as const, read: () => Promise.resolve(tokenOf(claims('z'))) };
  await assert.rejects(joinWith('', { server: { address: away.address }, attestation: { cluster: 'away', federation: FEDERATION, rootSha256: [away.authority.rootSha256], source } }), (error: unknown) => error instanceof IsthmusError && error.code === 'IDENTITY_ISSUER_AWAY');
  await away.close();
});

test('a method that is not configured is refused by name, and a wrong configuration before anything starts', async () => {
  await assert.rejects(
    joinOrResume({ ...(await optionsWith(() => Promise.resolve(''))), attestation: { cluster: 'east', federation: FEDERATION, rootSha256: [east.authority.rootSha256], source: { method: 'aws-instance', read: () => Promise.resolve(Buffer.from('x')) } } }),
    refusedFor(/does not take it/),
  );
  const rules = [{ match: { sub: 'x' }, agent: 'a-{sub' }];
  const jwt = [{ name: 'k', issuer: 'i', audience: 'a', discover: true, jwksUrl: 'u', rules }];
  const start = () => serveIssuance({ authority: east.authority, store: east.store.store, cluster: 'east', clock: systemClock, log: silentLog(), metrics: openMetrics(), attestation: { jwt } });
  assert.throws(start, (error: unknown) => error instanceof IsthmusError && error.code === 'IDENTITY_ATTESTATION_CONFIG' && /exactly one.*brace/s.test(error.message));
});

test('a control plane that is not under the pinned root sees no token', async () => {
  let isRead = false;
  const options = await optionsWith(() => {
    isRead = true;
    return Promise.resolve('');
  });
  await assert.rejects(joinOrResume({ ...options, attestation: { ...(options.attestation ?? assert.fail()), rootSha256: ['0'.repeat(64)] } }), (error: unknown) => error instanceof IsthmusError && error.code === 'RPC_PIN_MISMATCH');
  assert.equal(isRead, false);
});
