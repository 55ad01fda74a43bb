import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileSchema, IsthmusError } from '@isthmus/model';
import { openApiClient, type WatchEvent } from './client.ts';
import { fail } from './errors.ts';
import { routeOf, ROUTES } from './contract/route.ts';
import { openApiDocument } from './openapi.ts';
import { problemDocumentSchema, toProblemDocument } from './problem-document.ts';

type Sent = { url: string; method: string; headers: Record<string, string>; body?: string };

function answering(...answers: (readonly [status: number, body: string, headers?: Record<string, string>])[]) {
  const sent: Sent[] = [];
  const client = openApiClient({
    baseUrl: 'https://admin',
    fetch: async (url, init) => {
      sent.push({ url, ...init });
      const [status, body, headers = {}] = answers[Math.min(sent.length, answers.length) - 1] ?? [500, ''];
      return { status, headers: { get: (name) => headers[name] ?? null }, text: async () => body, body: new Response(body).body };
    },
  });
  return { client, sent };
}

test('a call is the route of the contract with its parameters, fence and key', async () => {
  const { client, sent } = answering([201, '{"changed":true}', { etag: '"7"' }]);
  const done = await client.call('putServices', { params: { cluster: 'east', namespace: 'shop', name: 'a/b' }, query: { dryRun: 'true' }, body: { a: 1 }, ifMatch: '"6"', idempotencyKey: 'k' });
  assert.deepEqual(done, { status: 201, value: { changed: true }, etag: '"7"' });
  assert.equal(sent[0]?.url, 'https://admin/v1/clusters/east/services/shop/a%2Fb?dryRun=true');
  assert.deepEqual([sent[0]?.method, sent[0]?.headers['if-match'], sent[0]?.headers['idempotency-key'], sent[0]?.body], ['PUT', '"6"', 'k', '{"a":1}']);
});

test('a problem document comes out as the error it was made from', async () => {
  const { client } = answering([412, JSON.stringify(toProblemDocument(new IsthmusError('CONTROL_PLANE_STALE', 'conflict', 'it is at revision 9', { hint: 'read it again' })))]);
  await assert.rejects(client.call('getWhoAmI'), (error: IsthmusError) => error.code === 'CONTROL_PLANE_STALE' && error.class === 'conflict' && error.hint === 'read it again');
});

test('an answer that is no answer of the contract is said to be one', async () => {
  await assert.rejects(answering([502, '<html>']).client.call('getWhoAmI'), { code: 'API_ANSWER_INVALID' });
  await assert.rejects(answering([200, '<html>']).client.call('getWhoAmI'), { code: 'API_ANSWER_INVALID' });
});

test('a list goes on until there is no next page', async () => {
  const item = (key: string) => ({ key, etag: '"1"', document: {} });
  const { client, sent } = answering([200, JSON.stringify({ items: [item('a')], next: 'YQ' })], [200, JSON.stringify({ items: [item('b')] })]);
  const keys: string[] = [];
  for await (const { key } of client.list('listServices', { params: { cluster: 'east' } })) keys.push(key);
  assert.deepEqual(keys, ['a', 'b']);
  assert.match(sent[1]?.url ?? '', /cursor=YQ/);
});

test('a watch tells puts, deletes and how current it is, and ends in the server’s problem', async () => {
  const problem = JSON.stringify(toProblemDocument(fail('API_CLUSTER_UNREACHABLE', 'west is away')));
  const { client } = answering([200, `id: 4\nevent: put\ndata: {"key":"a","etag":"\\"4\\"","document":{}}\n\n: heartbeat\n\nevent: synced\ndata: {}\n\nevent: delete\ndata: {"key":"a"}\n\nevent: problem\ndata: ${problem}\n\n`]);
  const events: WatchEvent[] = [];
  await assert.rejects(async () => {
    for await (const event of client.watch('listServices', { params: { cluster: 'east' } })) events.push(event);
  }, { code: 'API_CLUSTER_UNREACHABLE' });
  assert.deepEqual(events, [{ kind: 'put', key: 'a', etag: '"4"', document: {} }, { kind: 'synced' }, { kind: 'delete', key: 'a' }]);
});

test('the OpenAPI document has every route of the contract, each with roles, answers and a problem', () => {
  const document = openApiDocument() as { openapi: string; paths: Record<string, Record<string, { operationId: string; responses: Record<string, unknown>; parameters: { name: string }[] }>> };
  assert.equal(document.openapi, '3.1.0');
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  assert.deepEqual(operations.map((o) => o.operationId).toSorted(), ROUTES.map((r) => r.id).toSorted());
  for (const operation of operations) assert.ok('default' in operation.responses && Object.keys(operation.responses).length > 1, operation.operationId);
  assert.ok(document.paths['/v1/clusters/{cluster}/services/{namespace}/{name}']?.['put']?.parameters.some((p) => p.name === 'If-Match'));
});

test('route ids are unique, and a route that writes names its roles', () => {
  assert.equal(new Set(ROUTES.map((r) => r.id)).size, ROUTES.length);
  for (const route of ROUTES) if (route.method !== 'GET') assert.ok(route.roles.length > 0 && !route.roles.includes('viewer'), route.id);
  assert.throws(() => routeOf('nothing'), TypeError);
});

test('a failure without a code tells nothing of itself', () => {
  const document = toProblemDocument(new Error('the password is hunter2'));
  assert.ok(compileSchema(problemDocumentSchema)(document).ok);
  assert.equal(document.status, 500);
  assert.doesNotMatch(JSON.stringify(document), /hunter2/);
});
