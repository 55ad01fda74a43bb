// The trust root asked over the network: who is let, for what, and what stays with its own socket.
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { reservedSni, spiffeIds, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { fixedSvidSource, generateKey, makeX509Svid } from '@isthmus/pki';
import { call, openChannel, type RpcChannel, trust } from '@isthmus/rpc';
import { silentLog } from '@isthmus/telemetry';
import { FEDERATION, startTestCluster, startTestTrustRoot, type TestCluster, testDir, type TestTrustRoot, until } from '../testing.ts';
import { DRY_RUN, IDEMPOTENCY_KEY, ON_BEHALF_OF, REQUEST_ID } from './serve-remote.ts';

const [EAST, WEST] = ['east.acme.example' as TrustDomain, 'west.acme.example' as TrustDomain];
const ALICE = `spiffe://${EAST}/operator/alice`;
const operators = [
  { cluster: 'east', who: [ALICE], may: ['rotate' as const, 'fence' as const] },
  { cluster: 'east', who: ['oidc:corp:terraform', 'oidc:corp:ci'], may: ['members' as const] },
  { cluster: 'west', who: 'all' as const, may: ['fence' as const] },
];
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;
let west: TestCluster;
const channels: RpcChannel[] = [];

before(async () => {
  dir = await testDir('remote');
  root = await startTestTrustRoot(join(dir.path, 'root'), { operators });
  const start = async (cluster: string): Promise<TestCluster> => startTestCluster(join(dir.path, cluster), { cluster, trustRoot: { address: root.address }, token: await root.token(cluster) });
  [east, west] = [await start('east'), await start('west')];
}, { timeout: 60_000 });
after(async () => {
  for (const channel of channels) channel.close();
  await Promise.all([east.close(), west.close()]);
  await root.close();
  await dir.remove();
});

/** A client that proves to be this ID of the cluster, or nobody. */
function clientOf(cluster: TestCluster, id?: SpiffeId): trust.TrustRootAdminClient {
  const key = generateKey();
  const { bundles } = cluster.authority;
  const svids = id && fixedSvidSource(makeX509Svid(cluster.authority.sign({ publicKey: createPublicKey(key), spiffeId: id }).chain, key));
  const channel = openChannel({ address: root.address, serverName: reservedSni('trust-root', FEDERATION), expectedId: spiffeIds.trustRoot(FEDERATION), bundles, ...(svids && { svids }), log: silentLog() });
  channels.push(channel);
  return channel.client(trust.TrustRootAdminClient);
}
const limitFor = (person: string) => ({ timeoutMs: 10_000, metadata: { ...(person !== '' && { [ON_BEHALF_OF]: person }), [REQUEST_ID]: 'r-1' } });
type Client = trust.TrustRootAdminClient;
const fence = (client: Client, cluster: string, person: string) => call<trust.FenceClusterRequest, trust.FenceClusterResponse>(client.fenceCluster.bind(client), { cluster, reason: '' }, limitFor(person));
const rotation = (client: Client, person: string) => call<trust.GetRotationRequest, trust.RotationStatus>(client.getRotation.bind(client), {}, limitFor(person));
const rotate = (client: Client, person: string, over: Partial<trust.RotateRequest> = {}) => call<trust.RotateRequest, trust.RotationStatus>(client.rotate.bind(client), { action: 'pause', without: [], compromised: false, holdBefore: '', ...over }, limitFor(person));
const admit = (client: Client, person: string) => call<trust.CreateClusterTokenRequest, trust.CreateClusterTokenResponse>(client.createClusterToken.bind(client), { cluster: 'north', ttlSeconds: 60, replace: false }, limitFor(person));

test('every member’s admin API may read for a person; a control plane, nobody, and one that names no person may not', async () => {
  const api = clientOf(east, spiffeIds.adminApi(EAST));
  assert.equal((JSON.parse(Buffer.from((await rotation(api, ALICE)).document).toString()) as { federation: string }).federation, FEDERATION);
  await rotation(clientOf(west, spiffeIds.adminApi(WEST)), 'oidc:corp:anybody');
  await assert.rejects(rotation(api, ''), { code: 'IDENTITY_DENIED' });
  for (const other of [clientOf(east), clientOf(east, spiffeIds.controlPlane(EAST)), clientOf(east, spiffeIds.operator(EAST, 'alice'))]) await assert.rejects(rotation(other, ALICE), { code: 'IDENTITY_DENIED' });
});

test('a change needs an entry for that cluster, that person and that right, and is in the log before it is tried', async () => {
  const api = clientOf(east, spiffeIds.adminApi(EAST));
  const atWest = clientOf(west, spiffeIds.adminApi(WEST));
  await assert.rejects(fence(api, 'nowhere', ALICE), { code: 'IDENTITY_CLUSTER_NOT_FOUND' });
  await assert.rejects(rotate(api, ALICE), { code: 'IDENTITY_ROTATION_REFUSED' });
  assert.match((await admit(api, 'oidc:corp:terraform')).token, /^ict1\./);
  await assert.rejects(fence(atWest, 'nowhere', 'oidc:corp:anybody'), { code: 'IDENTITY_CLUSTER_NOT_FOUND' });
  for (const refused of [() => fence(api, 'west', `${ALICE}x`), () => admit(api, ALICE), () => fence(api, 'west', 'oidc:corp:terraform'), () => rotate(atWest, ALICE)]) await assert.rejects(refused, { code: 'IDENTITY_OPERATOR_DENIED' });
  const records = (await root.root.log.read(0, root.root.log.head().records)).filter((r) => r.kind === 'operator-request');
  assert.deepEqual(records.map((r) => [r.facts['cluster'], r.facts['caller'], r.facts['action'], r.facts['request']]), [
    ['east', ALICE, 'fence a cluster', 'r-1'],
    ['east', ALICE, 'rotate the root', 'r-1'],
    ['east', 'oidc:corp:terraform', 'admit a cluster', 'r-1'],
    ['west', 'oidc:corp:anybody', 'fence a cluster', 'r-1'],
  ]);
});

test('a compromised root and the log’s signature are for the socket, whoever asks', async () => {
  const api = clientOf(east, spiffeIds.adminApi(EAST));
  await assert.rejects(rotate(api, ALICE, { action: 'begin', compromised: true }), { code: 'IDENTITY_SOCKET_ONLY' });
  await assert.rejects(call<trust.CheckpointLogRequest, trust.LogHead>(api.checkpointLog.bind(api), {}, limitFor(ALICE)), { code: 'IDENTITY_SOCKET_ONLY' });
});

test('a token asked for twice with one key is made once, also after a restart, and its secret is told once', async () => {
  const withKey = (person: string, key: string, cluster = 'south', more: Record<string, string> = {}) => {
    const api = clientOf(east, spiffeIds.adminApi(EAST));
    const { timeoutMs, metadata } = limitFor(person);
    return call<trust.CreateClusterTokenRequest, trust.CreateClusterTokenResponse>(api.createClusterToken.bind(api), { cluster, ttlSeconds: 60, replace: false }, { timeoutMs, metadata: { ...metadata, [IDEMPOTENCY_KEY]: key, ...more } });
  };
  const terraform = 'oidc:corp:terraform';
  const tokensMade = async (): Promise<number> => (await root.root.log.read(0, root.root.log.head().records)).filter((r) => r.kind === 'cluster-token-created').length;
  const before = await tokensMade();
  const tried = await withKey(terraform, 'k-1', 'south', { [DRY_RUN]: 'true' });
  assert.deepEqual([tried.token, tried.replayed, await tokensMade()], ['', false, before], 'a dry run makes none');
  await assert.rejects(withKey(terraform, 'k-1', 'east', { [DRY_RUN]: 'true' }), { code: 'IDENTITY_CLUSTER_EXISTS' });
  const answers = await Promise.all([withKey(terraform, 'k-1'), withKey(terraform, 'k-1')]);
  assert.deepEqual(answers.map((a) => a.token === '').toSorted(), [false, true], 'one of two at the same moment gets the secret');
  assert.deepEqual([answers[0]?.id, answers[0]?.expiresAtMs], [answers[1]?.id, answers[1]?.expiresAtMs]);
  assert.equal(await tokensMade(), before + 1);
  await assert.rejects(withKey(terraform, 'k-1', 'southwest'), { code: 'IDENTITY_WRITE_KEY' });
  await assert.rejects(withKey(ALICE, 'k-1'), { code: 'IDENTITY_OPERATOR_DENIED' }, 'a key is no right');
  assert.equal((await withKey('oidc:corp:ci', 'k-1', 'southwest')).replayed, false, 'callers do not share their keys');
  await assert.rejects(withKey(terraform, 'k-2', 'east'), { code: 'IDENTITY_CLUSTER_EXISTS' });
  await assert.rejects(withKey(terraform, 'k-2', 'east'), { code: 'IDENTITY_CLUSTER_EXISTS' }, 'what failed is not remembered');
  for (const channel of channels.splice(0)) channel.close();
  await root.close();
  root = await startTestTrustRoot(join(dir.path, 'root'), { operators, port: root.port });
  const again = await withKey(terraform, 'k-1');
  assert.deepEqual([again.token, again.replayed, again.id, await tokensMade()], ['', true, answers[0]?.id, before + 2]);
});

test('the open connection of a cluster that was fenced asks for nothing more', async () => {
  const atWest = clientOf(west, spiffeIds.adminApi(WEST));
  await rotation(atWest, ALICE);
  await fence(clientOf(east, spiffeIds.adminApi(EAST)), 'west', ALICE);
  await until(() => rotation(atWest, ALICE).then(() => false, () => true), 'west is refused', 30_000);
  await assert.rejects(fence(atWest, 'east', 'oidc:corp:anybody'));
});

test('what was asked is no change that could be in force, so a start after it finds the log as it should be', async () => {
  const count = root.root.log.head().records;
  await root.close();
  root = await startTestTrustRoot(join(dir.path, 'root'), { operators });
  const records = await root.root.log.read(0, root.root.log.head().records);
  assert.ok(records.length >= count);
  assert.ok(!records.some((r) => r.kind === 'not-in-force'));
});
