import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ROUTES } from '@isthmus/api';
import { fixedSvidSource, openBundleSet, svidToPem, toPem, type X509Svid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { type Audit, openAudit } from './audit.ts';
import { toGrants } from './auth/grants.ts';
import type { Config } from './config.ts';
import { type ApiServer, startApiServer, type Work } from './server.ts';

const east = testAuthority({ cluster: 'east' });
const west = testAuthority({ cluster: 'west', root: east.root });
const stranger = testAuthority({ federation: 'other.example', cluster: 'east' });
const operator = (name: string): X509Svid => east.issue(`spiffe://${east.trustDomain}/operator/${name}`);

const people = {
  viewer: operator('viewer'), operator: operator('operator'), trust: operator('trust'), nobody: operator('nobody'), elsewhere: operator('elsewhere'), tenant: operator('tenant'), 'tenant-viewer': operator('tenant-viewer'),
};
const who = (name: keyof typeof people): string => people[name].spiffeId;

const config: Config = {
  cluster: 'east', federation: 'acme.example', stateDir: '', controlPlaneSocket: '', listen: { host: '127.0.0.1', port: 0 },
  grants: [
    { who: who('viewer'), role: 'viewer' },
    { who: who('operator'), role: 'operator' },
    { who: who('trust'), role: 'trust-admin' },
    { who: who('elsewhere'), role: 'operator', clusters: ['west'] },
    { who: who('elsewhere'), role: 'trust-admin', clusters: ['west'] },
    { who: who('tenant'), role: 'operator', namespaces: ['shop'] },
    { who: who('tenant-viewer'), role: 'viewer', namespaces: ['shop'] },
  ],
  oidc: [],
  forwarders: [{ cluster: 'west', roles: ['viewer'] }],
  limits: { requestsPerSecond: 10_000, requestsBurst: 10_000 },
};

let dir: string;
let audit: Audit;
let server: ApiServer;
const worked: Work[] = [];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-admin-api-'));
  audit = await openAudit({ dir, owner: east.trustDomain, clock: systemClock, log: silentLog() });
  server = await startApiServer({
    config, grants: toGrants(config.grants), audit, clock: systemClock, log: silentLog(), metrics: openMetrics(),
    svids: fixedSvidSource(east.issue(`spiffe://${east.trustDomain}/admin-api`, { dnsNames: ['admin.isthmus.east.acme.example'] })),
    bundles: openBundleSet([east.bundle, west.bundle]),
    handle: async (work) => {
      worked.push(work);
      return { status: 200, value: {} };
    },
  });
});
after(async () => {
  await server.close();
  await audit.close();
  await rm(dir, { recursive: true });
});

type Answer = { readonly status: number; readonly headers: Record<string, unknown>; readonly json: Record<string, unknown> };

/** One request over a connection of its own; rejects only where the connection breaks before an answer. */
function ask(method: string, path: string, options: { readonly as?: X509Svid; readonly headers?: Record<string, string>; readonly body?: string | Buffer; readonly port?: number } = {}): Promise<Answer> {
  const identity = options.as && svidToPem(options.as);
  return new Promise((resolve, reject) => {
    const sent = httpsRequest({
      host: '127.0.0.1', port: options.port ?? server.port, method, path, agent: false, servername: 'admin.isthmus.east.acme.example', ca: toPem(east.root.cert), headers: options.headers ?? {},
      ...(identity && { cert: identity.certPem, key: identity.keyPem }),
    }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) });
      });
    });
    let failed: Error | undefined;
    // A body the server does not read to its end breaks the connection; the answer may be there all the same.
    sent.on('error', (error) => (failed = error));
    sent.on('close', () => failed && setTimeout(() => reject(failed), 500).unref());
    sent.end(options.body);
  });
}

const VALUES: Readonly<Record<string, string>> = { cluster: 'east', namespace: 'shop', name: 'cart', service: 'cart', instance: 'a.i', from: 'west', peer: 'west', proxy: 'p', certificate: 'root', trustDomain: 'partner.example', id: '0123456789ab', ban: '0123456789abcdef', member: 'west', role: 'agent', agent: 'vm-1', gateway: 'gw-1' };
const SERVICE = { kind: 'service', namespace: 'shop', name: 'cart', ports: [{ name: 'http', port: 80, protocol: 'http' }] };
const json = { 'content-type': 'application/json' };
const SERVICE_PATH = '/v1/clusters/east/services/shop/cart';

/** The table is the router's own: a route that is added is in it. */
function table(): { readonly method: string; readonly path: string; readonly route: (typeof ROUTES)[number] }[] {
  return server.routes.map((line) => {
    const [method = '', template = ''] = line.split(' ');
    const route = ROUTES.find((r) => r.method === method && r.path.replace(/\{(\w+)\}/g, ':$1') === template);
    assert.ok(route, `${line} is in the router and not in the contract`);
    return { method, path: template.replace(/:(\w+)/g, (_all, name: string) => VALUES[name] ?? assert.fail(`no value for ${name}`)), route };
  });
}

test('every route of the router refuses who proves nothing, another federation, and a certificate that has run out', async () => {
  assert.equal(table().length, ROUTES.length);
  const expired = east.issue(who('operator'), { nowMs: Date.now() - 7_200_000, ttlMs: 60_000 });
  for (const { method, path } of [...table(), { method: 'GET', path: '/' }, { method: 'GET', path: '/v1/nothing' }, { method: 'PATCH', path: SERVICE_PATH }]) {
    for (const [name, as] of [['nobody at all', undefined], ['another federation', stranger.issue(who('operator'))], ['an expired certificate', expired]] as const) {
      const answer = await ask(method, path, { ...(as && { as }), headers: json });
      assert.deepEqual([answer.status, answer.json['code']], [401, 'API_UNAUTHENTICATED'], `${method} ${path} by ${name}`);
    }
  }
  assert.equal(worked.length, 0);
});

test('every route refuses each role that may not, another cluster, and what lies outside a tenant’s namespaces', async () => {
  for (const { method, path, route } of table()) {
    const expect = async (name: keyof typeof people, isAllowed: boolean, at = path): Promise<void> => {
      const before = worked.length;
      const answer = await ask(method, at, { as: people[name], headers: json, ...(route.body && { body: '{}' }) });
      if (isAllowed) assert.notEqual(answer.status, 403, `${name}: ${method} ${at}: ${JSON.stringify(answer.json)}`);
      else {
        assert.deepEqual([answer.status, answer.json['code']], [403, 'API_DENIED'], `${name}: ${method} ${at}`);
        assert.equal(worked.length, before);
      }
    };
    const isOpen = route.roles.length === 0;
    await expect('nobody', isOpen);
    await expect('viewer', isOpen || route.roles.includes('viewer'));
    await expect('operator', isOpen || route.roles.includes('operator'));
    await expect('trust', isOpen || route.roles.includes('trust-admin'));
    await expect('elsewhere', isOpen || route.scope === 'any');
    const isTenants = isOpen || route.scope === 'any' || (route.scope === 'namespace' && route.roles.includes('operator'));
    await expect('tenant', isTenants);
    if (route.scope === 'namespace') {
      const other = path.includes('/shop/') ? path.replace('/shop/', '/bank/') : `${path}?namespace=bank`;
      await expect('tenant', false, other);
      await expect('tenant-viewer', false, other);
    }
  }
  worked.length = 0;
});

test('a list without a namespace is cut to the namespaces its caller may see', async () => {
  await ask('GET', '/v1/clusters/east/services', { as: people.tenant });
  assert.deepEqual(worked.at(-1)?.namespaces, new Set(['shop']));
  await ask('GET', '/v1/clusters/east/services', { as: people.viewer });
  assert.equal(worked.at(-1)?.namespaces, 'all');
});

for (const [name, send, status, pattern] of [
  ['a body of 10 MiB', { body: Buffer.alloc(10 * 1024 * 1024, 32) }, 413, /larger than/],
  ['a body that says it has 100 MB', { headers: { ...json, 'content-length': '104857600' } }, 413, /larger than/],
  ['a body nested 10,000 deep', { body: `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}` }, 400, /deeper than 32/],
  ['__proto__', { body: JSON.stringify(SERVICE).replace('{', '{"__proto__":{"admin":true},') }, 400, /__proto__/],
  ['a key that stands twice', { body: JSON.stringify(SERVICE).replace('{', '{"name":"other",') }, 400, /name: stands twice/],
  ['a wrong type', { body: JSON.stringify({ ...SERVICE, ports: [{ name: 'http', port: '80', protocol: 'http' }] }) }, 400, /ports\[0\]\.port/],
  ['an unknown field', { body: JSON.stringify({ ...SERVICE, replicas: 3 }) }, 400, /unknown field \\"replicas\\"/],
  ['no body', {}, 400, /body is missing/],
  ['no JSON', { body: '{nope' }, 400, /not JSON/],
  ['no UTF-8', { body: Buffer.from([0x7b, 0xff, 0x7d]) }, 400, /UTF-8/],
  ['another media type', { headers: { 'content-type': 'text/xml' }, body: '<a/>' }, 415, /application\/json/],
  ['an unknown query parameter', { query: '?force=true', body: JSON.stringify(SERVICE) }, 400, /force/],
  ['a query parameter twice', { query: '?dryRun=true&dryRun=false', body: JSON.stringify(SERVICE) }, 400, /dryRun/],
  ['an ETag that is none', { headers: { ...json, 'if-match': 'seven' }, body: JSON.stringify(SERVICE) }, 400, /If-Match/],
] as const) {
  test(`${name} is refused with ${status}, and reaches nothing`, async () => {
    const before = worked.length;
    const answer = await ask('PUT', `${SERVICE_PATH}${'query' in send ? send.query : ''}`, { as: people.operator, headers: 'headers' in send ? send.headers : json, ...('body' in send && { body: send.body }) });
    assert.equal(answer.status, status, JSON.stringify(answer.json));
    assert.match(JSON.stringify(answer.json), pattern);
    assert.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8');
    assert.equal(worked.length, before);
    assert.equal(({} as { admin?: boolean }).admin, undefined);
  });
}

test('every wrong field is named, each with its place', async () => {
  const answer = await ask('PUT', SERVICE_PATH, { as: people.operator, headers: json, body: JSON.stringify({ kind: 'service', namespace: 'Shop', name: 'cart', replicas: 3, ports: [{ name: 'http', port: 0, protocol: 'udp', tls: true }] }) });
  assert.deepEqual((answer.json['errors'] as { field: string }[]).map((e) => e.field).toSorted(), ['namespace', 'ports[0].port', 'ports[0].protocol', 'ports[0].tls', 'replicas'], 'an unknown field by its own name');
});

test('a path that is there with another method is 405 and says which it has', async () => {
  const answer = await ask('PATCH', SERVICE_PATH, { as: people.operator, headers: json, body: '{}' });
  assert.deepEqual([answer.status, answer.headers['allow']], [405, 'GET, PUT, DELETE']);
  for (const method of ['QUERY', 'TRACE', 'PROPFIND', 'HEAD', 'OPTIONS']) assert.equal((await ask(method, SERVICE_PATH, { as: people.operator })).status, 405, method);
  assert.equal((await ask('GET', '/v1/nothing', { as: people.operator })).status, 404);
});

test('another cluster’s admin API speaks for people only where it may, and with no more than its ceiling', async () => {
  const api = west.issue(`spiffe://${west.trustDomain}/admin-api`);
  const asking = (spokenFor: string | undefined, method = 'GET', as = api) => ask(method, SERVICE_PATH, { as, headers: { ...json, ...(spokenFor !== undefined && { 'isthmus-on-behalf-of': spokenFor }) }, ...(method === 'PUT' && { body: JSON.stringify(SERVICE) }) });
  assert.equal((await asking(who('viewer'))).status, 200);
  assert.equal(worked.at(-1)?.caller.forwardedBy, api.spiffeId);
  assert.equal((await asking(who('operator'), 'PUT')).status, 403); // west may forward what viewers may
  assert.equal((await asking(undefined)).json['code'], 'API_FORWARD_REFUSED');
  assert.equal((await asking(`spiffe://${east.trustDomain}/admin-api`)).json['code'], 'API_FORWARD_REFUSED');
  assert.equal((await asking(who('viewer'), 'GET', people.operator)).json['code'], 'API_FORWARD_REFUSED');
  const north = testAuthority({ cluster: 'north', root: east.root });
  assert.equal((await asking(who('viewer'), 'GET', north.issue(`spiffe://${north.trustDomain}/admin-api`))).status, 401);
});

test('every write is in the log as intent and as done, every refusal as refused, before its answer', async () => {
  const answer = await ask('PUT', SERVICE_PATH, { as: people.operator, headers: { ...json, 'idempotency-key': 'k-1' }, body: JSON.stringify(SERVICE) });
  const denied = await ask('DELETE', SERVICE_PATH, { as: people.viewer });
  const lines = (await readFile(join(dir, 'audit.log'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as { kind: string; facts: Record<string, unknown> });
  const own = lines.filter((l) => l.facts['request'] === answer.headers['isthmus-request']);
  assert.deepEqual(own.map((l) => [l.kind, l.facts['caller'], l.facts['method'], l.facts['path'], l.facts['idempotencyKey']]), ['intent', 'done'].map((kind) => [kind, who('operator'), 'PUT', SERVICE_PATH, 'k-1']));
  assert.deepEqual(lines.filter((l) => l.facts['request'] === denied.json['instance']).map((l) => [l.kind, l.facts['status'], l.facts['caller']]), [['refused', 403, who('viewer')]]);
  const { entries } = await audit.read({ limit: 1 });
  assert.deepEqual([entries[0]?.event, entries[0]?.sequence], ['refused', lines.length]);
});

test('a write that cannot be logged is not made', async () => {
  const full: Audit = { append: () => Promise.reject(new Error('disk full')), read: audit.read, close: async () => undefined };
  let made = 0;
  const other = await startApiServer({
    config, grants: toGrants(config.grants), audit: full, clock: systemClock, log: silentLog(), metrics: openMetrics(),
    svids: fixedSvidSource(east.issue(`spiffe://${east.trustDomain}/admin-api`, { dnsNames: ['admin.isthmus.east.acme.example'] })), bundles: openBundleSet([east.bundle]),
    handle: async () => {
      made += 1;
      return { status: 200, value: {} };
    },
  });
  try {
    assert.equal((await ask('PUT', SERVICE_PATH, { as: people.operator, headers: json, body: JSON.stringify(SERVICE), port: other.port })).status, 500);
    assert.equal((await ask('GET', SERVICE_PATH, { as: people.operator, port: other.port })).status, 200);
    assert.equal(made, 1);
  } finally {
    await other.close();
  }
});

test('a caller that asks too often is told to wait, and others are not', async () => {
  const limited = await startApiServer({
    config: { ...config, limits: { requestsPerSecond: 1, requestsBurst: 5 } }, grants: toGrants(config.grants), audit, clock: systemClock, log: silentLog(), metrics: openMetrics(),
    svids: fixedSvidSource(east.issue(`spiffe://${east.trustDomain}/admin-api`, { dnsNames: ['admin.isthmus.east.acme.example'] })), bundles: openBundleSet([east.bundle]),
    handle: async () => ({ status: 200, value: {} }),
  });
  try {
    const statuses: number[] = [];
    for (let i = 0; i < 40 && statuses.at(-1) !== 429; i += 1) statuses.push((await ask('GET', SERVICE_PATH, { as: people.operator, port: limited.port })).status);
    assert.equal(statuses.at(-1), 429);
    assert.equal((await ask('GET', SERVICE_PATH, { as: people.viewer, port: limited.port })).status, 200);
  } finally {
    await limited.close();
  }
});
