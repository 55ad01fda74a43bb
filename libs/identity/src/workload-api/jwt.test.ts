import assert from 'node:assert/strict';
import { createPublicKey, type webcrypto } from 'node:crypto';
import { test } from 'node:test';
import { parseJwtSvid, verifyJwtSvid } from '@isthmus/pki';
import { ChannelCredentials, Metadata, type ServiceError, status, workloadApi } from '@isthmus/rpc';
import { until } from '../testing.ts';
import { HERE, LEDGER, PAYMENTS, startTestWorkloadApi, type TestWorkloadApi } from './testing.ts';
import type { WorkloadApiOptions } from './workload-api.ts';

const ID = 'spiffe://east.acme.example/ns/shop/svc/payments';
const header = new Metadata();
header.set('workload.spiffe.io', 'true');

type Client = {
  fetch(audience: string[], spiffeId?: string, metadata?: Metadata): Promise<workloadApi.JWTSVIDResponse>;
  validate(audience: string, svid: string): Promise<workloadApi.ValidateJWTSVIDResponse>;
  readonly raw: workloadApi.SpiffeWorkloadAPIClient;
};

async function withApi(over: Partial<WorkloadApiOptions>, use: (client: Client, api: TestWorkloadApi) => Promise<void>): Promise<void> {
  const api = await startTestWorkloadApi(over);
  const raw = new workloadApi.SpiffeWorkloadAPIClient(`unix:${api.socketPath}`, ChannelCredentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  const answered = <T>(ask: (done: (error: ServiceError | null, answer: T) => void) => void): Promise<T> => new Promise((resolve, reject) => ask((error, answer) => (error === null ? resolve(answer) : reject(error))));
  try {
    await use(
      {
        raw,
        fetch: (audience, spiffeId = '', metadata = header) => answered((done) => raw.fetchJwtsvid({ audience, spiffeId }, metadata, done)),
        validate: (audience, svid) => answered((done) => raw.validateJwtsvid({ audience, svid }, header, done)),
      },
      api,
    );
  } finally {
    raw.close();
    await api.close();
  }
}

test('a workload gets a token for its audience, which the API itself takes for that audience only', async () => {
  await withApi({}, async (client) => {
    const { svids: [svid, ...more] } = await client.fetch(['ledger']);
    assert.ok(svid !== undefined && more.length === 0);
    assert.deepEqual([svid.spiffeId, svid.hint], [ID, 'shop/payments']);
    const valid = await client.validate('ledger', svid.svid);
    assert.equal(valid.spiffeId, ID);
    assert.deepEqual([valid.claims?.['sub'], valid.claims?.['aud']], [ID, 'ledger']);
    await assert.rejects(client.validate('another', svid.svid), { code: status.INVALID_ARGUMENT });
    await assert.rejects(client.validate('ledger', `${svid.svid.slice(0, -4)}AAAA`), { code: status.INVALID_ARGUMENT });
    await assert.rejects(client.validate('ledger', 'garbage'), { code: status.INVALID_ARGUMENT });
    await assert.rejects(client.validate('ledger', 'x'.repeat(100_000)), { code: status.INVALID_ARGUMENT });
    await assert.rejects(client.validate('', svid.svid), { code: status.INVALID_ARGUMENT });
  });
});

test('a token of a service that was banned after it was issued is refused, a later one is not', async () => {
  await withApi({}, async (client, api) => {
    const { svids: [svid] } = await client.fetch(['ledger']);
    const [nowMs, expiresAtMs] = [Date.now(), Date.now() + 3_600_000];
    api.bundles.ban(api.east.trustDomain, [{ spiffeId: ID, issuedBeforeMs: nowMs + 60_000, expiresAtMs }]);
    await assert.rejects(client.validate('ledger', svid?.svid ?? ''), { code: status.INVALID_ARGUMENT, details: /banned/ });
    api.bundles.ban(api.east.trustDomain, [{ spiffeId: ID, issuedBeforeMs: nowMs - 60_000, expiresAtMs }]);
    assert.equal((await client.validate('ledger', svid?.svid ?? '')).spiffeId, ID);
  });
});

test('a process that is two workloads gets both tokens, or the one it names; never another’s', async () => {
  await withApi({ workloads: [PAYMENTS, LEDGER].map((service) => ({ service, selectors: HERE })) }, async (client) => {
    assert.deepEqual((await client.fetch(['x'])).svids.map((s) => s.hint), ['shop/payments', 'bank/ledger']);
    assert.deepEqual((await client.fetch(['x'], ID)).svids.map((s) => s.spiffeId), [ID]);
    for (const other of ['spiffe://east.acme.example/ns/shop/svc/cart', 'spiffe://west.acme.example/ns/shop/svc/payments', 'no ID']) {
      await assert.rejects(client.fetch(['x'], other), { code: status.PERMISSION_DENIED });
    }
  });
});

test('a token without an audience, for too many, or for one that cannot be, is refused', async () => {
  await withApi({}, async (client) => {
    for (const audience of [[], [''], ['a\nb'], ['x'.repeat(513)], Array.from({ length: 17 }, (_, i) => `a${i}`)]) {
      await assert.rejects(client.fetch(audience), { code: status.INVALID_ARGUMENT });
    }
    await assert.rejects(client.fetch(['x'], '', new Metadata()), { code: status.INVALID_ARGUMENT });
  });
});

test('a process that is no workload gets no token, has none checked, and gets no bundle', async () => {
  await withApi({ workloads: [{ service: PAYMENTS, selectors: { uid: 4_000_000 } }] }, async (client) => {
    await assert.rejects(client.fetch(['x']), { code: status.PERMISSION_DENIED });
    await assert.rejects(client.validate('x', 'y'), { code: status.PERMISSION_DENIED });
    const error = await new Promise<ServiceError>((resolve) => client.raw.fetchJwtBundles({}, header).on('error', resolve));
    assert.equal(error.code, status.PERMISSION_DENIED);
  });
});

test('one user cannot ask for tokens without end', async () => {
  await withApi({}, async (client, api) => {
    const codes = await Promise.all(Array.from({ length: 150 }, (_, i) => client.fetch([`audience-${i}`]).then(() => 0, (error: ServiceError) => error.code)));
    assert.ok(codes.filter((code) => code === 0).length >= 100);
    assert.deepEqual(new Set(codes), new Set([status.OK, status.RESOURCE_EXHAUSTED]));
    assert.deepEqual(api.api.open(), []);
  });
});

test('the keys of every trust domain are told as JWK Sets, and again when they change', async () => {
  await withApi({}, async (client, api) => {
    const answers: workloadApi.JWTBundlesResponse[] = [];
    const stream = client.raw.fetchJwtBundles({}, header);
    stream.on('data', (answer: workloadApi.JWTBundlesResponse) => answers.push(answer));
    stream.on('error', () => undefined);
    await until(() => answers.length === 1, 'the bundles');
    assert.deepEqual(Object.keys(answers[0]?.bundles ?? {}), ['spiffe://east.acme.example', 'spiffe://west.acme.example']);
    const own = JSON.parse(String(answers[0]?.bundles['spiffe://east.acme.example'])) as { keys: { kid: string; kty: string; use?: string; d?: string }[] };
    assert.deepEqual(own.keys.map(({ kid, kty, use, d }) => [kid, kty, use, d]), [['key-1', 'EC', undefined, undefined]]);
    assert.deepEqual(JSON.parse(String(answers[0]?.bundles['spiffe://west.acme.example'])), { keys: [] });
    const { svids: [svid] } = await client.fetch(['x']);
    const key = createPublicKey({ key: own.keys[0] as unknown as webcrypto.JsonWebKey, format: 'jwk' });
    const bundle = { ...api.east.bundle, jwtAuthorities: [{ keyId: 'key-1', publicKey: key.export({ type: 'spki', format: 'der' }).toString('base64') }] };
    assert.ok(parseJwtSvid(svid?.svid ?? '').ok);
    assert.ok((await verifyJwtSvid({ token: svid?.svid ?? '', audience: 'x', bundles: { get: () => bundle }, nowMs: Date.now() })).ok);
    api.bundles.update({ ...api.east.bundle, sequence: 9 });
    await until(() => answers.length === 2, 'the change');
    assert.deepEqual(JSON.parse(String(answers[1]?.bundles['spiffe://east.acme.example'])), { keys: [] });
    stream.cancel();
  });
});
