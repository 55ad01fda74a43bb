import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { after, beforeEach, test } from 'node:test';
import type { IsthmusError, SpiffeId } from '@isthmus/model';
import { svidToPem, toPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { RetryBudget, systemClock, systemRandom } from '@isthmus/runtime';
import { fakeClock } from '@isthmus/runtime/testing';
import { joinToken } from '../resources/join-token.ts';
import { service } from '../resources/service.ts';
import { openApi } from './api.ts';
import { withRetries } from './retry.ts';

/** What an admin API answers in these tests; `drop`: it did as it was told, and its answer was lost. */
type Reply = { readonly status: number; readonly body?: object; readonly etag?: string } | 'drop';
type Asked = { readonly method: string; readonly path: string; readonly headers: IncomingMessage['headers']; readonly body: unknown };

const authority = testAuthority();
const asked: Asked[] = [];
let reply: (request: Asked) => Reply | Promise<Reply> = () => ({ status: 500 });
const servers: Server[] = [];

async function serve(spiffeId: string): Promise<string> {
  const { certPem, keyPem } = svidToPem(authority.issue(spiffeId as SpiffeId));
  const server = createServer({ cert: certPem, key: keyPem, minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: false }, (request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => {
      const one: Asked = { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body: text === '' ? undefined : JSON.parse(text) };
      asked.push(one);
      void Promise.resolve(reply(one)).then((answer) => {
        if (answer === 'drop') return void response.destroy();
        response.writeHead(answer.status, { 'content-type': 'application/json', ...(answer.etag !== undefined && { etag: answer.etag }) }).end(JSON.stringify(answer.body ?? problem(answer.status)));
      });
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const problem = (status: number): object => ({ status, code: status === 404 ? 'API_NOT_FOUND' : 'API_CLUSTER_UNREACHABLE', detail: `status ${status}` });
const endpoint = await serve(`spiffe://${authority.trustDomain}/admin-api`);
const settings = { federation: 'acme.example', cluster: 'east', caPem: toPem(authority.root.cert), clientCertPem: undefined, clientKeyPem: undefined, token: 'secret-token', trustRootSocket: undefined };
const parts = { clock: systemClock, random: () => 0 };
const api = openApi({ ...settings, endpoints: [endpoint] }, parts);
const soon = (): AbortSignal => AbortSignal.timeout(30_000);

beforeEach(() => void asked.splice(0));
after(async () => {
  await api.close();
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});

test('the token goes as a bearer token, to the admin API of the cluster and to nobody else', async () => {
  reply = () => ({ status: 200, body: { cluster: 'east', items: [] } });
  assert.deepEqual(await api.list('listClusters', {}, soon()), []);
  assert.equal(asked[0]?.headers.authorization, 'Bearer secret-token');
  const other = openApi({ ...settings, endpoints: [await serve(`spiffe://${authority.trustDomain}/ns/shop/svc/payments`)] }, parts);
  await assert.rejects(other.list('listClusters', {}, AbortSignal.timeout(1_500)));
  assert.equal(asked.length, 1);
  await other.close();
});

test('a token that ran out is read anew from its file, once for all calls; one that is no newer is a refusal, and no other error is a reason to read', async () => {
  let file = 'secret-token';
  let reads = 0;
  const empty: Reply = { status: 200, body: { cluster: 'east', items: [] } };
  const expired: Reply = { status: 401, body: { status: 401, code: 'API_UNAUTHENTICATED', detail: 'the bearer token is refused (expired)' } };
  const renewed = Promise.withResolvers<void>();
  let refusals = 0;
  reply = ({ headers }) => {
    if (headers.authorization !== 'Bearer new-token') return refusals++ < 2 ? expired : renewed.promise.then(() => expired);
    renewed.resolve();
    return empty;
  };
  const readToken = async (): Promise<string> => (reads++, file);
  const filed = openApi({ ...settings, readToken, endpoints: [endpoint] }, parts);
  await assert.rejects(filed.list('listClusters', {}, soon()), { code: 'API_UNAUTHENTICATED' });
  assert.deepEqual([asked.length, reads], [1, 1]);
  file = 'new-token';
  // The other call hears of its refusal when the first one has the new token.
  assert.deepEqual(await Promise.all([1, 2].map(() => filed.list('listClusters', {}, soon()))), [[], []]);
  assert.equal(reads, 2);
  reply = () => ({ status: 403, body: { status: 403, code: 'API_DENIED', detail: 'no' } });
  file = 'newest-token';
  await assert.rejects(filed.list('listClusters', {}, soon()), { code: 'API_DENIED' });
  assert.equal(reads, 2);
  await filed.close();
});

test('a dead endpoint is passed over for the next one', async () => {
  reply = () => ({ status: 200, body: { cluster: 'east', items: [] } });
  const both = openApi({ ...settings, endpoints: ['127.0.0.1:1', endpoint] }, parts);
  assert.deepEqual(await both.list('listClusters', {}, soon()), []);
  await both.close();
});

test('a write that was told to come later, or not answered, is made again with the same key; a refusal is not', async () => {
  const replies: Reply[] = [{ status: 503 }, 'drop', { status: 201, body: { changed: true }, etag: '"7"' }];
  reply = () => replies.shift() ?? { status: 500 };
  const { etag } = await api.call('putServices', { params: { cluster: 'east', namespace: 'shop', name: 'a' }, body: {}, idempotencyKey: 'k' }, soon());
  assert.deepEqual([etag, asked.map((a) => a.headers['idempotency-key'])], ['"7"', ['k', 'k', 'k']]);
  reply = () => ({ status: 403, body: { status: 403, code: 'API_DENIED', detail: 'no' } });
  await assert.rejects(api.call('listServices', { params: { cluster: 'east' } }, soon()), { code: 'API_DENIED' });
  assert.equal(asked.length, 4);
});

test('a cluster’s token whose answer was lost is asked for with the same key, and made anew where its secret is not told again', async () => {
  const first = (): unknown => asked[0]?.headers['idempotency-key'];
  reply = ({ headers }) => (headers['idempotency-key'] !== first() ? { status: 201, body: { cluster: 'west', id: 'b', token: 'ict1.x', expiresAtMs: 2 } } : asked.length === 1 ? 'drop' : { status: 201, body: { cluster: 'west', id: 'a', expiresAtMs: 1 } });
  assert.deepEqual(await api.membership.createToken({ cluster: 'west', ttlSeconds: 60 }, soon()), { token: 'ict1.x', expiresAtMs: 2 });
  assert.deepEqual(asked.map((a) => a.headers['idempotency-key'] === first()), [true, true, false]);
});

test('the signal ends a call that nobody answers, with its own reason', async () => {
  reply = () => new Promise(() => undefined);
  const end = new AbortController();
  const call = api.call('listServices', { params: { cluster: 'east' } }, end.signal);
  const reason = new Error('interrupted');
  setTimeout(() => end.abort(reason), 50);
  await assert.rejects(call, (error) => error === reason);
});

test('an outage of many calls sends no more than the budget, and every call goes on once it is over', async () => {
  const clock = fakeClock();
  const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 2, windowMs: 10_000, clock });
  let sent = 0;
  let isOver = false;
  const attempt = async (): Promise<string> => {
    sent += 1;
    if (isOver) return 'done';
    throw Object.assign(await failing(), {});
  };
  const calls = Array.from({ length: 100 }, () => withRetries(attempt, { clock, random: systemRandom, budget }, new AbortController().signal));
  await clock.advance(20_000);
  assert.ok(sent <= 100 + 2 * (20 + 20), `${sent} were sent`);
  isOver = true;
  await clock.advance(120_000);
  assert.deepEqual(new Set(await Promise.all(calls)), new Set(['done']));
});

async function failing(): Promise<Error> {
  const { fail } = await import('../errors.ts');
  return fail('TERRAFORM_TIMEOUT', 'later');
}

const PLANNED = { id: null, cluster: 'east', namespace: 'shop', name: 'a', ports: [{ name: 'http', port: 80, protocol: 'http' }], labels: null, timeouts: null };
const DOCUMENT = { kind: 'service', namespace: 'shop', name: 'a', ports: [{ name: 'http', port: 80, protocol: 'http' }] };
/** Less than the limit within which a lost write is looked for. */
const SHORT_MS = 700;

test('a write without an answer is looked for: found it is done, gone it is not, and where nobody can look the state keeps it', async () => {
  reply = ({ method }) => (method === 'GET' ? { status: 200, body: DOCUMENT, etag: '"9"' } : 'drop');
  const found = await service.create(api, PLANNED, { signal: AbortSignal.timeout(SHORT_MS) });
  assert.deepEqual([found.error, found.state?.['id'], found.private], [undefined, 'east/shop/a', { etag: '"9"' }]);
  reply = ({ method }) => (method === 'GET' ? { status: 404 } : 'drop');
  const gone = await service.create(api, PLANNED, { signal: AbortSignal.timeout(SHORT_MS) });
  assert.ok(gone.error !== undefined && gone.state === null);
  reply = () => 'drop';
  const unknown = await service.create(api, PLANNED, { signal: AbortSignal.timeout(SHORT_MS) });
  assert.ok(unknown.error !== undefined && unknown.state?.['id'] === 'east/shop/a');
});

test('a refusal after a try without an answer is no proof that it was not done: it is kept where nobody may look, and a plain refusal is not', async (t) => {
  const refusal: Reply = { status: 401, body: { status: 401, code: 'API_UNAUTHENTICATED', detail: 'the bearer token is refused (expired)' } };
  let left = 1;
  reply = () => (left-- > 0 ? 'drop' : refusal);
  const unknown = await service.create(api, PLANNED, { signal: soon() });
  assert.equal(unknown.state?.['id'], 'east/shop/a');
  assert.match(String(unknown.error), /refused \(expired\); an earlier try was not answered and may have been done/);
  reply = () => refusal;
  assert.equal((await service.create(api, PLANNED, { signal: soon() })).state, null);

  left = 1;
  reply = () => (left-- > 0 ? { status: 429, body: { status: 429, code: 'API_RATE_LIMITED', detail: 'later' } } : refusal);
  assert.equal((await service.create(api, PLANNED, { signal: soon() })).state, null, 'nor was what was told to come later');

  let turnedAway = 0;
  const [host = '', port = ''] = endpoint.split(':');
  const door = createTcpServer((near) => {
    if (++turnedAway <= 2) return void near.resetAndDestroy();
    const far = connect(Number(port), host);
    near.pipe(far).pipe(near);
    for (const [one, other] of [[near, far], [far, near]] as const) one.on('error', () => other.destroy()).on('close', () => other.destroy());
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const behind = openApi({ ...settings, endpoints: [`127.0.0.1:${(door.address() as AddressInfo).port}`] }, parts);
  t.after(async () => {
    await behind.close();
    door.close();
  });
  assert.equal((await service.create(behind, PLANNED, { signal: soon() })).state, null, 'what was never sent was not done');
  assert.ok(turnedAway > 2);
});

test('a change that may have been made leaves the state that is there', async () => {
  const prior = { ...PLANNED, id: 'east/shop/a', labels: { a: 'old' } };
  const planned = { ...prior, labels: { a: 'new' } };
  reply = ({ method }) => (method === 'GET' ? { status: 200, body: { ...DOCUMENT, labels: { a: 'theirs' } }, etag: '"3"' } : 'drop');
  const outcome = await service.update(api, planned, prior, { etag: '"1"' }, { signal: AbortSignal.timeout(SHORT_MS) });
  assert.ok(outcome.error !== undefined);
  assert.deepEqual([outcome.state?.['labels'], outcome.private], [{ a: 'theirs' }, { etag: '"3"' }]);
  assert.equal(asked[0]?.headers['if-match'], '"1"');
});

test('somebody else’s change is a conflict that says so, and nothing is written', async () => {
  reply = () => ({ status: 412, body: { status: 412, code: 'CONTROL_PLANE_STALE', detail: 'service shop/a is at revision 5, the write was made for revision 1' } });
  const prior = { ...PLANNED, id: 'east/shop/a' };
  const outcome = await service.update(api, { ...prior, labels: { a: 'b' } }, prior, { etag: '"1"' }, { signal: soon() });
  assert.equal((outcome.error as IsthmusError).code, 'TERRAFORM_CHANGED');
  assert.deepEqual(outcome.state, prior);
  await assert.rejects(service.remove(api, prior, { etag: '"1"' }, { signal: soon() }), { code: 'TERRAFORM_CHANGED' });
});

test('a cluster that is unknown for now is no proof that a thing is gone', async () => {
  reply = () => ({ status: 404, body: { status: 404, code: 'API_CLUSTER_UNKNOWN', detail: 'no cluster east' } });
  await assert.rejects(service.read(api, { ...PLANNED, id: 'east/shop/a' }, {}, { signal: soon() }), { code: 'API_CLUSTER_UNKNOWN' });
  reply = () => ({ status: 404 });
  assert.equal((await service.read(api, { ...PLANNED, id: 'east/shop/a' }, {}, { signal: soon() })).state, null);
});

const TOKEN = { id: null, cluster: 'east', agent: 'vm', role: 'agent', services: null, ttl_seconds: null, keepers: null, token_id: null, token: null, expires_at_ms: null, used: null, timeouts: null };

test('a token whose secret was lost with its answer is deleted, and another made', async () => {
  const ids = ['a'.repeat(12), 'b'.repeat(12)];
  reply = ({ method, headers }) => {
    if (method === 'DELETE') return { status: 200, body: { deleted: true, dryRun: false } };
    const isFirst = headers['idempotency-key'] === asked[0]?.headers['idempotency-key'];
    if (isFirst && asked.length === 1) return 'drop';
    return { status: 201, body: { id: ids[isFirst ? 0 : 1], expiresAtMs: 1, ...(!isFirst && { token: 'ijt1.x' }) } };
  };
  const { state } = await joinToken(() => 0).create(api, TOKEN, { signal: soon() });
  assert.deepEqual([state?.['token'], state?.['token_id']], ['ijt1.x', ids[1]]);
  assert.deepEqual(asked.map((a) => a.method), ['POST', 'POST', 'DELETE', 'POST']);
  assert.ok(asked[2]?.path.endsWith(`/${ids[0]}`));
});

test('a token that was used or ran out stays in the state when it is gone; one that was deleted before is made anew', async () => {
  reply = () => ({ status: 404 });
  const kept = { ...TOKEN, id: `east/${'a'.repeat(12)}`, token_id: 'a'.repeat(12), expires_at_ms: 100, used: false };
  const read = (state: typeof kept, nowMs: number) => joinToken(() => nowMs).read(api, state, {}, { signal: soon() });
  assert.equal((await read(kept, 50)).state, null);
  assert.equal((await read(kept, 150)).state, kept);
  const used = { ...kept, used: true as never };
  assert.equal((await read(used, 50)).state, used);
});
