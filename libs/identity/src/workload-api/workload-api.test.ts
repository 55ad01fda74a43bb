import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey, createPublicKey } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifySvid } from '@isthmus/pki';
import { ChannelCredentials, type ClientReadableStream, Metadata, type ServiceError, status, workloadApi } from '@isthmus/rpc';
import { testDir, until } from '../testing.ts';
import { HERE, LEDGER, PAYMENTS, startTestWorkloadApi, type TestWorkloadApi } from './testing.ts';
import type { WorkloadApiOptions } from './workload-api.ts';

type X509Stream = ClientReadableStream<workloadApi.X509SVIDResponse>;

function header(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

async function withApi(over: Partial<WorkloadApiOptions>, use: (api: TestWorkloadApi, client: workloadApi.SpiffeWorkloadAPIClient) => Promise<void>): Promise<void> {
  const api = await startTestWorkloadApi(over);
  const client = new workloadApi.SpiffeWorkloadAPIClient(`unix:${api.socketPath}`, ChannelCredentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  try {
    await use(api, client);
  } finally {
    client.close();
    await api.close();
  }
}

/** All answers of a stream so far; `next` waits for one more, or for its end. */
function follow<T>(stream: ClientReadableStream<T>): { readonly answers: readonly T[]; next(): Promise<T>; ended: Promise<ServiceError> } {
  const answers: T[] = [];
  let taken = 0;
  stream.on('data', (answer: T) => answers.push(answer));
  const ended = once(stream, 'error').then(([error]) => error as ServiceError);
  return {
    answers,
    ended,
    async next() {
      await Promise.race([until(() => answers.length > taken, 'an answer'), ended.then((error) => Promise.reject(error))]);
      return answers[taken++] as T;
    },
  };
}
async function refusal(stream: X509Stream): Promise<ServiceError> {
  let refused: ServiceError | undefined;
  stream.resume();
  stream.on('error', (error: ServiceError) => (refused = error));
  await until(() => refused !== undefined, 'a refusal').finally(() => stream.cancel());
  return refused as ServiceError;
}

test('a workload gets its SVID, its key in PKCS#8, its own bundle and those of the other trust domains', async () => {
  await withApi({}, async (api, client) => {
    const answer = await follow(client.fetchX509Svid({}, header())).next();
    const [svid] = answer.svids;
    assert.ok(svid);
    assert.equal(svid.spiffeId, 'spiffe://east.acme.example/ns/shop/svc/payments');
    assert.equal(svid.hint, 'shop/payments');
    assert.deepEqual(svid.x509Svid, Buffer.concat(api.current(PAYMENTS)?.chain ?? []));
    const key = createPrivateKey({ key: svid.x509SvidKey, format: 'der', type: 'pkcs8' });
    const leaf = new X509Certificate(svid.x509Svid);
    assert.ok(leaf.publicKey.equals(createPublicKey(key)));
    assert.deepEqual(svid.bundle, api.east.root.cert);
    assert.deepEqual(Object.keys(answer.federatedBundles), ['spiffe://west.acme.example']);
    assert.ok(verifySvid({ chain: api.current(PAYMENTS)?.chain ?? [], bundle: api.east.bundle, nowMs: Date.now() }).ok);
  });
});

test('every rotation and every change of a bundle is told, several at once in one answer, and nothing twice', async () => {
  await withApi({}, async (api, client) => {
    const stream = follow(client.fetchX509Svid({}, header()));
    await stream.next();
    const renewed = api.rotate(PAYMENTS);
    assert.deepEqual((await stream.next()).svids[0]?.x509Svid, Buffer.concat(renewed.chain));
    api.bundles.update({ ...api.west.bundle, trustDomain: 'north.acme.example' });
    api.bundles.update({ ...api.west.bundle, trustDomain: 'south.acme.example' });
    assert.deepEqual(Object.keys((await stream.next()).federatedBundles), ['spiffe://north.acme.example', 'spiffe://south.acme.example', 'spiffe://west.acme.example']);
    api.bundles.update({ ...api.west.bundle, sequence: 7 });
    api.bundles.remove('north.acme.example');
    assert.deepEqual(Object.keys((await stream.next()).federatedBundles), ['spiffe://south.acme.example', 'spiffe://west.acme.example']);
    assert.equal(stream.answers.length, 4);
  });
});

test('the bundles alone are told by trust domain, and an emptied one is told empty', async () => {
  await withApi({}, async (api, client) => {
    const stream = follow(client.fetchX509Bundles({}, header()));
    assert.deepEqual((await stream.next()).bundles, { 'spiffe://east.acme.example': api.east.root.cert, 'spiffe://west.acme.example': api.east.root.cert });
    api.bundles.update({ ...api.west.bundle, sequence: 2, x509Authorities: [] });
    assert.deepEqual((await stream.next()).bundles['spiffe://west.acme.example'], Buffer.alloc(0));
  });
});

test('a process that is two workloads gets both, the first as its default, each with its hint', async () => {
  const workloads = [PAYMENTS, LEDGER].map((service) => ({ service, selectors: HERE }));
  await withApi({ workloads }, async (api, client) => {
    const stream = follow(client.fetchX509Svid({}, header()));
    api.rotate(LEDGER);
    const { svids } = await stream.next();
    assert.deepEqual(svids.map((s) => s.hint), ['shop/payments', 'bank/ledger']);
  });
});

test('an SVID that has run out is not handed out', async () => {
  const workloads = [PAYMENTS, LEDGER].map((service) => ({ service, selectors: HERE }));
  await withApi({ workloads }, async (api, client) => {
    const stream = follow(client.fetchX509Svid({}, header()));
    api.rotate(LEDGER);
    await stream.next();
    api.rotate(PAYMENTS, { ttlMs: -1_000 });
    assert.deepEqual((await stream.next()).svids.map((s) => s.hint), ['bank/ledger']);
  });
});

test('a call without the header is refused', async () => {
  await withApi({}, async (api, client) => {
    assert.equal((await refusal(client.fetchX509Svid({}))).code, status.INVALID_ARGUMENT);
    const wrong = new Metadata();
    wrong.set('workload.spiffe.io', 'yes');
    assert.equal((await refusal(client.fetchX509Svid({}, wrong))).code, status.INVALID_ARGUMENT);
    assert.deepEqual(api.api.open(), []);
  });
});

for (const [what, selectors] of [
  ['another user', { uid: (process.getuid?.() ?? 0) + 1 }],
  ['another group', { ...HERE, gid: (process.getgid?.() ?? 0) + 1 }],
  ['another program', { ...HERE, path: '/usr/bin/true' }],
] as const) {
  test(`a process gets nothing where the selectors name ${what}`, async () => {
    await withApi({ workloads: [{ service: PAYMENTS, selectors }] }, async (api, client) => {
      const refused = await refusal(client.fetchX509Svid({}, header()));
      assert.deepEqual([refused.code, refused.details], [status.PERMISSION_DENIED, 'no identity issued']);
      assert.match(await api.metrics.text(), /isthmus_workload_api_calls_total\{method="FetchX509SVID",outcome="WORKLOAD_API_DENIED"\} 1/);
    });
  });
}

test('a process of the program and user that the selectors name gets its identity', async () => {
  const selectors = { ...HERE, gid: process.getgid?.() ?? 0, path: process.execPath };
  await withApi({ workloads: [{ service: PAYMENTS, selectors }] }, async (_api, client) => {
    assert.equal((await follow(client.fetchX509Svid({}, header())).next()).svids.length, 1);
  });
});

test('one user’s streams are bounded, and each one ended makes room', async () => {
  await withApi({ callsPerUser: 20 }, async (api, client) => {
    const streams = Array.from({ length: 1_000 }, () => client.fetchX509Svid({}, header()));
    const codes: number[] = [];
    for (const stream of streams) {
      stream.resume();
      stream.on('error', (error: ServiceError) => codes.push(error.code));
    }
    await until(() => codes.length === 980, '980 refusals', 60_000);
    assert.deepEqual(new Set(codes), new Set([status.RESOURCE_EXHAUSTED]));
    assert.equal(api.api.open().length, 20);
    for (const stream of streams) stream.cancel();
    await until(() => api.api.open().length === 0, 'the streams ended');
    await follow(client.fetchX509Svid({}, header())).next();
  });
});

test('a caller that is killed mid-stream leaves nothing behind', async () => {
  await withApi({}, async (api) => {
    const program = `
      import { ChannelCredentials, Metadata, workloadApi } from ${JSON.stringify(import.meta.resolve('@isthmus/rpc'))};
      const metadata = new Metadata();
      metadata.set('workload.spiffe.io', 'true');
      new workloadApi.SpiffeWorkloadAPIClient('unix:' + process.argv[1], ChannelCredentials.createInsecure()).fetchX509Svid({}, metadata).on('data', () => process.stdout.write('x'));
    `;
    const caller = spawn(process.execPath, ['--input-type=module', '-e', program, api.socketPath], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(caller.stdout, 'data');
    assert.deepEqual(api.api.open(), [{ method: 'FetchX509SVID', pid: caller.pid, uid: process.getuid?.(), path: process.execPath }]);
    caller.kill('SIGKILL');
    await until(() => api.api.open().length === 0, 'the stream ended');
    api.rotate(PAYMENTS);
  });
});

test('garbage instead of HTTP/2 ends that connection alone', async () => {
  await withApi({}, async (api, client) => {
    const stream = follow(client.fetchX509Svid({}, header()));
    await stream.next();
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\xff\x99\x99garbage', '\0'.repeat(100_000)]) {
      const socket = connect(api.socketPath);
      socket.on('error', () => undefined);
      socket.end(Buffer.from(bytes, 'latin1'));
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
    }
    api.rotate(PAYMENTS);
    await stream.next();
  });
});

test('when the agent stops, streams are told so that clients come again', async () => {
  const api = await startTestWorkloadApi();
  const client = new workloadApi.SpiffeWorkloadAPIClient(`unix:${api.socketPath}`, ChannelCredentials.createInsecure());
  const stream = follow(client.fetchX509Svid({}, header()));
  await stream.next();
  const [ended] = await Promise.all([stream.ended, api.close()]);
  assert.equal(ended.code, status.UNAVAILABLE);
  client.close();
});

test('the socket is open to all users, and its path must be free', async () => {
  const dir = await testDir('wl-socket');
  const api = await startTestWorkloadApi({ socketPath: join(dir.path, 'run', 'api.sock') });
  assert.equal(statSync(api.socketPath).mode & 0o777, 0o666);
  assert.equal(statSync(join(dir.path, 'run')).mode & 0o777, 0o755);
  await assert.rejects(startTestWorkloadApi({ socketPath: api.socketPath }), { code: 'RPC_SOCKET_BUSY' });
  await assert.rejects(startTestWorkloadApi({ socketPath: join(dir.path, 'x'.repeat(120)) }), { code: 'RPC_SOCKET_PATH', message: /107/ });
  const file = join(dir.path, 'notes.txt');
  writeFileSync(file, 'keep');
  await assert.rejects(startTestWorkloadApi({ socketPath: file }), { code: 'RPC_SOCKET_PATH', message: /no socket/ });
  assert.equal(statSync(file).size, 4);
  await api.close();
  await dir.remove();
});
