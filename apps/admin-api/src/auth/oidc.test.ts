// Bearer tokens at the real server, of an issuer on real HTTPS: who is let in, as whom, and every token that is not.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startTestIssuer, type TestIssuer } from '@isthmus/identity/testing';
import type { IsthmusError } from '@isthmus/model';
import { fixedSvidSource, openBundleSet, svidToPem, toPem, type X509Svid } from '@isthmus/pki';
import { signTestToken, testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { type Audit, openAudit } from '../audit.ts';
import type { Config } from '../config.ts';
import { type ApiServer, startApiServer, type Work } from '../server.ts';
import { claimsHeader } from './caller.ts';
import { grantsOf, toGrants } from './grants.ts';
import { type Oidc, openOidc, tokenCallerId } from './oidc.ts';

const east = testAuthority({ cluster: 'east' });
const west = testAuthority({ cluster: 'west', root: east.root });
const SERVICE_PATH = '/v1/clusters/east/services/shop/cart';
const SERVICE = { kind: 'service', namespace: 'shop', name: 'cart', ports: [{ name: 'http', port: 80, protocol: 'http' }] };

let dir: string;
let issuer: TestIssuer;
let config: Config;
let oidc: Oidc;
let audit: Audit;
let server: ApiServer;
const worked: Work[] = [];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-oidc-'));
  issuer = await startTestIssuer();
  config = {
    cluster: 'east', federation: 'acme.example', stateDir: '', controlPlaneSocket: '', listen: { host: '127.0.0.1', port: 0 },
    grants: [{ who: 'oidc:corp:carol', role: 'viewer' }],
    oidc: [
      {
        name: 'corp', issuer: issuer.url, audience: 'isthmus', discover: true, caFile: issuer.caFile,
        rules: [
          { match: { groups: 'platform' }, role: 'operator' },
          { match: { groups: 'shop-team', '/realm/name': 'acme' }, role: 'operator', namespaces: ['shop'] },
          { match: { groups: { prefix: 'sec-' } }, role: 'trust-admin', clusters: ['west'] },
        ],
      },
    ],
    forwarders: [{ cluster: 'west', roles: ['viewer', 'operator'] }],
    limits: { requestsPerSecond: 5, requestsBurst: 300 },
  };
  oidc = openOidc({ issuers: config.oidc, clock: systemClock, log: silentLog() });
  audit = await openAudit({ dir, owner: east.trustDomain, clock: systemClock, log: silentLog() });
  server = await startApiServer({
    config, grants: toGrants(config.grants), audit, oidc, clock: systemClock, log: silentLog(), metrics: openMetrics(),
    svids: fixedSvidSource(east.issue(`spiffe://${east.trustDomain}/admin-api`, { dnsNames: ['admin.isthmus.east.acme.example'] })),
    bundles: openBundleSet([east.bundle, west.bundle]),
    handle: async (work) => {
      worked.push(work);
      return { status: 200, value: {} };
    },
  });
}, { timeout: 60_000 });
after(async () => {
  await server.close();
  await oidc.close();
  await audit.close();
  await issuer.close();
  await rm(dir, { recursive: true });
});

type Answer = { readonly status: number; readonly headers: Record<string, unknown>; readonly json: Record<string, unknown> };

function ask(method: string, path: string, options: { readonly token?: string; readonly as?: X509Svid; readonly headers?: Record<string, string>; readonly body?: object } = {}): Promise<Answer> {
  const identity = options.as && svidToPem(options.as);
  return new Promise((resolve, reject) => {
    const sent = httpsRequest({
      host: '127.0.0.1', port: server.port, method, path, agent: false, servername: 'admin.isthmus.east.acme.example', ca: toPem(east.root.cert),
      headers: { 'content-type': 'application/json', ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }), ...options.headers },
      ...(identity && { cert: identity.certPem, key: identity.keyPem }),
    }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, json: JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, unknown> }));
    });
    sent.on('error', reject);
    sent.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

const read = (token: string) => ask('GET', SERVICE_PATH, { token });
const write = (token: string, path = SERVICE_PATH) => ask('PUT', path, { token, body: SERVICE });

test('claims give roles by every rule that matches, in its clusters and namespaces, and a name may be granted by itself', async () => {
  const platform = issuer.token({ groups: ['staff', 'platform'] });
  assert.equal((await write(platform)).status, 200);
  assert.equal(worked.at(-1)?.caller.id, 'oidc:corp:alice');
  const shop = issuer.token({ sub: 'bob', groups: ['shop-team'], realm: { name: 'acme' } });
  assert.equal((await write(shop)).status, 200);
  assert.equal((await write(shop, SERVICE_PATH.replace('/shop/', '/bank/'))).status, 403);
  assert.equal((await write(issuer.token({ sub: 'bob', groups: ['shop-team'] }))).status, 403);
  const security = issuer.token({ sub: 'sue', groups: 'sec-ops' });
  assert.equal((await ask('GET', '/v1/clusters/east/join-tokens', { token: security })).status, 403, 'its role holds in west');
  const carol = issuer.token({ sub: 'carol' });
  assert.equal((await read(carol)).status, 200);
  assert.equal((await write(carol)).status, 403);
  assert.equal((await read(issuer.token({ sub: 'stranger' }))).status, 403);
});

test('the audit log names issuer and subject, and the token is in neither log nor answer', async () => {
  const token = issuer.token({ groups: 'platform' });
  const done = await write(token);
  const refused = await write(issuer.token({ sub: 'mallory' }));
  const text = await readFile(join(dir, 'audit.log'), 'utf8');
  const facts = text.trim().split('\n').map((line) => (JSON.parse(line) as { facts: Record<string, unknown> }).facts);
  const of = (id: unknown) => facts.filter((f) => f['request'] === id).map((f) => [f['caller'], f['issuer']]);
  assert.deepEqual(of(done.headers['isthmus-request']), [['oidc:corp:alice', issuer.url], ['oidc:corp:alice', issuer.url]]);
  assert.deepEqual(of(refused.json['instance']), [['oidc:corp:mallory', issuer.url]]);
  const [, payload = '', signature = ''] = token.split('.');
  for (const secret of [payload, signature]) assert.ok(!text.includes(secret) && !JSON.stringify(refused.json).includes(secret));
});

const nowSeconds = Math.floor(Date.now() / 1_000);
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const bad: readonly (readonly [name: string, make: () => string, why: RegExp])[] = [
  ['that has run out', () => issuer.token({ iat: nowSeconds - 7_200, exp: nowSeconds - 3_600 }), /\(expired\)/],
  ['that is valid later', () => issuer.token({ nbf: nowSeconds + 3_600, exp: nowSeconds + 7_200 }), /\(not-yet-valid\)/],
  ['issued in the future', () => issuer.token({ iat: nowSeconds + 3_600, exp: nowSeconds + 7_200 }), /\(not-yet-valid\)/],
  ['without an end', () => issuer.token({ exp: undefined }), /\(no-expiry\)/],
  ['that lives for a year', () => issuer.token({ exp: nowSeconds + 31_536_000 }), /\(too-long-lived\)/],
  ['for another audience', () => issuer.token({ aud: 'other' }), /\(wrong-audience\)/],
  ['of another issuer', () => issuer.token({ iss: 'https://evil.example' }), /\(wrong-issuer\)/],
  ['without a subject', () => issuer.token({ sub: undefined }), /\(malformed\)/],
  ['signed by another key under a known name', () => issuer.token({}, { key: other, kid: 'key-1' }), /\(bad-signature\)/],
  ['with alg none', () => `${part({ alg: 'none' })}.${part({ iss: issuer.url, sub: 'alice', aud: 'isthmus', exp: nowSeconds + 60 })}.`, /\(algorithm\)|\(malformed\)/],
  ['signed with the public key as if it were a secret', () => {
    const body = `${part({ alg: 'HS256', kid: 'key-1' })}.${part({ iss: issuer.url, sub: 'alice', aud: 'isthmus', exp: nowSeconds + 60 })}`;
    return `${body}.${createHmac('sha256', 'key').update(body).digest('base64url')}`;
  }, /\(algorithm\)/],
  ['that brings its own key', () => {
    const { kty, crv, x, y } = other.export({ format: 'jwk' });
    const header = part({ alg: 'ES256', jwk: { kty, crv, x, y } });
    return `${header}.${signTestToken({ iss: issuer.url, sub: 'alice', aud: 'isthmus', exp: nowSeconds + 60 }, { key: other, kid: '' }).split('.').slice(1).join('.')}`;
  }, /\(bad-signature\)|\(unknown-key\)/],
  ['that is none', () => 'hello', /\(malformed\)/],
];
for (const [name, make, why] of bad) {
  test(`a token ${name} is refused, and reaches nothing`, async () => {
    const count = worked.length;
    const answer = await read(make());
    assert.deepEqual([answer.status, answer.json['code']], [401, 'API_UNAUTHENTICATED'], JSON.stringify(answer.json));
    assert.match(String(answer.json['detail']), why);
    assert.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"');
    assert.equal(worked.length, count);
  });
}

test('one bearer that asks too often is told to wait, and others are not', async () => {
  const statuses: number[] = [];
  for (let i = 0; i < 60 && !statuses.includes(429); i += 1) statuses.push(...(await Promise.all(Array.from({ length: 20 }, () => read(issuer.token({ sub: 'carol' }))))).map(({ status }) => status));
  assert.ok(statuses.includes(429));
  assert.equal((await write(issuer.token({ sub: 'dave', groups: 'platform' }))).status, 200);
});

test('a storm of unknown keys asks the issuer once, and a key it changed to is found', async () => {
  await read(issuer.token());
  const count = (): number => issuer.asked.filter((path) => path === '/jwks').length;
  const before = count();
  const storm = Array.from({ length: 20 }, (_none, i) => issuer.token({}, { key: other, kid: `unknown-${i}` }));
  const answers = await Promise.all(storm.map(read));
  assert.ok(answers.every(({ status }) => status === 401 || status === 429));
  assert.ok(count() - before <= 1, `${count() - before} fetches`);
  // A fresh source has no fetch behind it that would hold the next one back.
  issuer.changeKey();
  const fresh = openOidc({ issuers: config.oidc, clock: systemClock, log: silentLog() });
  try {
    assert.equal((await fresh.authenticate(issuer.token())).id, 'oidc:corp:alice');
  } finally {
    await fresh.close();
  }
});

test('one identity a request: a certificate and a token together, another scheme and words for others are refused', async () => {
  const alice = east.issue(`spiffe://${east.trustDomain}/operator/alice`);
  assert.match(String((await ask('GET', SERVICE_PATH, { as: alice, token: issuer.token() })).json['detail']), /may bring one of them only/);
  assert.match(String((await ask('GET', SERVICE_PATH, { headers: { authorization: 'Basic YTpi' } })).json['detail']), /no bearer token/);
  assert.equal((await ask('GET', SERVICE_PATH, { token: issuer.token(), headers: { 'isthmus-on-behalf-of': `spiffe://${east.trustDomain}/operator/alice` } })).json['code'], 'API_FORWARD_REFUSED');
});

test('claims that another cluster’s admin API tells are judged by the rules here, under its ceiling, and for that person only', async () => {
  const api = west.issue(`spiffe://${west.trustDomain}/admin-api`);
  const asking = (id: string, claims: object | undefined, method = 'PUT') =>
    ask(method, SERVICE_PATH, { as: api, headers: { 'isthmus-on-behalf-of': id, ...(claims && { 'isthmus-claims': claimsHeader({ ...claims }) ?? '' }) }, ...(method === 'PUT' && { body: SERVICE }) });
  const claims = { iss: issuer.url, sub: 'alice', groups: ['platform'] };
  assert.equal((await asking('oidc:corp:alice', claims)).status, 200);
  assert.equal((await asking('oidc:corp:alice', undefined)).status, 403);
  assert.equal((await asking('oidc:corp:alice', { ...claims, iss: 'https://evil.example' })).status, 403, 'another issuer of the same name');
  assert.equal((await asking('oidc:corp:bob', claims)).json['code'], 'API_FORWARD_REFUSED');
  assert.equal((await asking('oidc:corp:alice', { ...claims, groups: 'sec-ops' })).status, 403, 'its forwarder may not say trust-admin');
  assert.equal((await ask('GET', SERVICE_PATH, { as: api, headers: { 'isthmus-on-behalf-of': 'oidc:corp:alice', 'isthmus-claims': 'e30x{' } })).json['code'], 'API_FORWARD_REFUSED');
});

test('names are fit for headers, grants come from names and claims under the ceiling, and a wrong configuration is refused', () => {
  assert.equal(tokenCallerId('corp', 'Ærø 1%'), 'oidc:corp:%C3%86r%C3%B8%201%25');
  assert.equal(tokenCallerId('corp', '\ud800'), 'oidc:corp:%EF%BF%BD');
  const claimed = { who: 'x', role: 'operator', clusters: 'all', namespaces: 'all' } as const;
  assert.deepEqual(grantsOf([], { id: 'a', grants: [claimed], ceiling: ['viewer'] }), []);
  const issuers = [{ name: 'Corp', issuer: 'https://x', audience: 'a', rules: [] }, { name: 'Corp', issuer: 'https://y', audience: 'a', jwksFile: 'f', rules: [] }];
  assert.throws(() => openOidc({ issuers, clock: systemClock, log: silentLog() }), (error: IsthmusError) => error.code === 'API_OIDC_CONFIG' && /oidc\[0\].name: is no DNS label.*oidc\[0\]: needs exactly one.*oidc\[1\].name: Corp stands twice/.test(error.message));
});
